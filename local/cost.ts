/**
 * `agnt2 cost`: dollars and bytes for a million interactions in each mode of data availability, from prices that its caller sets; docs/cost.md has the formulas.
 * Exit code 0; 2 for wrong arguments. `--json` prints one JSON object.
 */
import { type Command, EXIT, type Invocation, UsageError, parse } from '../sidecar/cli/command.ts';
import { commandHelp } from '../sidecar/cli/help.ts';
import { Output } from '../sidecar/cli/output.ts';
import { dataOf } from './simulate/inputs.ts';
import { readCalibration } from './simulate/calibration.ts';
import { type CostInputs, L1_RULES, MODES, costs, defaults, fault } from './simulate/cost.ts';

const calibration = readCalibration();
const start = defaults(dataOf(calibration));

/** Options that set an input, with the input's name. */
const NUMBERS = {
  'gas-price': ['gasGwei', 'GWEI', 'price of gas on L1'],
  'blob-price': [
    'blobGwei',
    'GWEI',
    "price of blob gas; by default the least that EIP-7918 allows, a sixteenth of gas'",
  ],
  eth: ['ethUsd', 'USD', 'price of an ether'],
  bytes: [
    'bytesPerInteraction',
    'N',
    `bytes of an interaction in bundles of 64, signature and header included, as npm run bench -- da measured (${calibration.suites.da.date.slice(0, 10)})`,
  ],
  bundle: ['bundle', 'N', 'interactions in a bundle, 1 to 256'],
  rate: ['interactionsPerSecond', 'N', 'interactions a second'],
  'batch-seconds': ['batchSeconds', 'S', 'seconds from batch to batch'],
  'certificate-gas': [
    'certificateGas',
    'GAS',
    'gas of a certificate with 11 of 16 signatures, as npm run bench -- da measures',
  ],
  storage: ['storageUsd', 'USD', 'what a member pays for a gigabyte and month'],
  'retention-days': ['retentionDays', 'DAYS', 'how long a member keeps its columns'],
  uplink: ['uplink', 'BYTES', 'bytes a second that the poster can send to a committee'],
} as const satisfies Record<string, readonly [keyof CostInputs, string, string]>;

const command: Command = {
  about: [
    'Prices are no market’s: set them. What is measured comes from the stored calibration and from the gas snapshots of the contracts’ tests.',
  ],
  options: {
    ...Object.fromEntries(
      Object.entries(NUMBERS).map(([name, [input, value, help]]) => [
        name,
        { type: 'string' as const, value, help, default: String(start[input]) },
      ]),
    ),
    committee: {
      type: 'string',
      value: 'N/K/Q',
      default: Object.values(start.committee).join('/'),
      help: 'members, columns that restore the data, signatures to a certificate',
    },
  },
  examples: ['agnt2 cost --gas-price 5 --eth 2500', 'agnt2 cost --rate 100000 --committee 16/6/11 --json'],
  run: async (invocation) => {
    const inputs = inputsFrom(invocation);
    const of = costs(inputs);
    const number = (value: number): string =>
      value.toLocaleString('en', { maximumFractionDigits: value < 1000 ? 2 : 0 });
    const row = (cells: readonly string[]): string =>
      cells.map((cell, i) => (i === 0 ? cell.padEnd(11) : cell.padStart(18))).join('');
    invocation.out.result({ ok: true, inputs, perMillion: of }, [
      row(['a million in', 'dollars', 'bytes on L1', 'bytes at members', 'gas', 'blob gas', 'at most, a second']),
      ...MODES.map((mode) => {
        const { usd, l1Bytes, memberBytes, gas, blobGas, interactionsPerSecond } = of[mode];
        return row([mode, ...[usd, l1Bytes, memberBytes, gas, blobGas, interactionsPerSecond].map(number)]);
      }),
      '',
      `gas ${inputs.gasGwei} gwei, blob gas ${inputs.blobGwei} gwei, ether $${inputs.ethUsd}; ${number(inputs.interactionsPerSecond)} interactions/s, a batch every ${inputs.batchSeconds} s, bundles of ${inputs.bundle}; all of a blob is paid for, full or not`,
      `at most: all gas (${number(L1_RULES.blockGas)} a block), all ${L1_RULES.blobTarget} blobs, or the whole uplink`,
    ]);
    return EXIT.done;
  },
};

/** Throws {@link UsageError}. */
function inputsFrom({ args, text }: Invocation): CostInputs {
  if (args.length > 0) throw new UsageError(`cost takes no ${args[0]}`);
  const numbers = Object.fromEntries(
    Object.entries(NUMBERS).map(([name, [input]]) => {
      const given = text(name)!;
      if (!/^\d+(\.\d+)?(e\d+)?$/.test(given))
        throw new UsageError(`--${name} must be a number, not ${JSON.stringify(given)}`);
      return [input, Number(given)];
    }),
  );
  const committee = /^(\d+)\/(\d+)\/(\d+)$/.exec(text('committee')!);
  if (!committee) throw new UsageError('--committee is N/K/Q, like 16/6/11');
  const [n, k, q] = committee.slice(1).map(Number);
  const inputs = { ...start, ...numbers, committee: { n, k, q } };
  const wrong = fault(inputs);
  if (wrong !== null) throw new UsageError(wrong);
  return inputs;
}

// Whoever reads us may stop reading, as `head` does.
process.stdout.on('error', () => process.exit(EXIT.done));
const argv = process.argv.slice(2);
const output = new Output(argv.includes('--json'), process.env);
try {
  if (argv.includes('--help') || argv.includes('-h')) {
    output.result(
      {},
      commandHelp(
        {
          name: 'cost',
          summary: 'Dollars and bytes for a million interactions, by where their data goes',
          load: async () => command,
        },
        command,
        output,
      ),
    );
  } else process.exitCode = await command.run(parse(command, argv, process.env, () => output));
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  output.note(`${error.message}; 'agnt2 cost --help' says how`);
  process.exitCode = EXIT.usage;
}
