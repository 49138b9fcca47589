/** An agent's wallet in this process, for one submission of an operator. A sidecar that runs with the same key is not disturbed: both sign anew when a nonce is taken. */
import { Signing } from '../../protocol/eip712.ts';
import { hex } from '../../protocol/bytes.ts';
import { formatId, shardOf } from '../../protocol/ids.ts';
import { MachineKey } from '../../protocol/keys.ts';
import { type Config, loadSecret } from '../config.ts';
import { Core } from '../core.ts';
import { Wallet } from '../wallet.ts';
import { Failure } from './command.ts';

/** Throws `wrong_key` when the key is not the agent's. */
export async function walletOf(config: Config): Promise<Wallet> {
  const core = new Core(config.gateway);
  const key = await MachineKey.import(loadSecret(config));
  const [{ domain, sequencerKey, seq }, onChain] = await Promise.all([core.status(), core.key(config.agent)]);
  if (hex(onChain) !== hex(key.publicKey))
    throw new Failure(
      'wrong_key',
      `${config.keyFile ?? 'AGNT2_MACHINE_KEY'} is not the key of ${formatId(config.agent)}`,
    );
  const firstSeq = seq.get(shardOf(config.agent)) ?? 0;
  return new Wallet({ core, key, signing: new Signing(domain), agent: config.agent, sequencerKey, firstSeq });
}
