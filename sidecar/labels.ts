/**
 * A config file with what the labels of its container say (`discover/`). The file is the operator's word: what it says stands,
 * labels fill in what it leaves out, and lower its caps. No label raises one, or lets the app out where the file doesn't.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Labelled } from './discover/labels.ts';
import { refusal } from './errors.ts';
import { readAmount } from './prices.ts';
import { NAME } from './target.ts';

type Json = Record<string, unknown>;
const isObject = (value: unknown): value is Json =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const CAPS = ['perCall', 'perHour', 'perDay', 'perPeer'] as const;

/** The lower of what the file says of a cap (its daily one if it says nothing) and the label; the file's where a label can't be read. */
function lower(policy: Json, labels: Json): Json {
  const result = { ...policy };
  for (const cap of CAPS) {
    const [ours, theirs] = [readAmount(policy[cap] ?? policy.perDay), readAmount(labels[cap])];
    if (ours !== null && theirs !== null && theirs < ours) result[cap] = String(theirs);
  }
  // The caps that default to the daily one must go on doing so by the file's.
  for (const cap of CAPS) if (policy.perDay !== undefined) result[cap] ??= policy.perDay;
  return result;
}

/** Hosts that the file and the labels both allow; a pattern allows what it covers. */
function both(file: readonly unknown[], labels: readonly string[]): string[] {
  const covers = (pattern: unknown, host: string): boolean =>
    typeof pattern === 'string' &&
    (pattern === host || (pattern.startsWith('*.') && host.replace(/^\*/, '').endsWith(pattern.slice(1))));
  const narrower = labels.filter((host) => file.some((pattern) => covers(pattern, host)));
  const kept = file.filter((host): host is string => typeof host === 'string' && labels.some((l) => covers(l, host)));
  return [...new Set([...narrower, ...kept])];
}

/** The parsed config file, with the labels in it. */
export function withLabels(file: unknown, labels: Labelled): unknown {
  if (!isObject(file)) return file;
  const merged: Json = { ...file };
  // Both or neither: prices of one app must not come to stand on another.
  if (file.app === undefined && file.services === undefined && labels.app !== undefined) {
    merged.app = labels.app;
    merged.services = labels.services;
  }
  if (isObject(file.policy) && labels.policy !== undefined) merged.policy = lower(file.policy, { ...labels.policy });
  if (isObject(file.egress) && labels.egress !== undefined)
    merged.egress = {
      ...file.egress,
      allow: both(Array.isArray(file.egress.allow) ? file.egress.allow : [], labels.egress.allow),
    };
  return merged;
}

/** The text of the labels for the agent of a config file; null while nobody found its container. Throws `bad_config`. */
export function labelsFor(file: unknown, dir: string): string | null {
  const name = isObject(file) ? file.name : undefined;
  if (typeof name !== 'string' || !NAME.test(name))
    throw refusal('bad_config', 'with --labels the config must say its name: it is how the container is found');
  try {
    return readFileSync(join(dir, `${name}.json`), 'utf8');
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return null;
    throw refusal('bad_config', `can't read the labels of ${name} in ${dir}`, error);
  }
}

/** Reads what the discovery wrote: it shares nothing with us but a folder, so nothing of it is taken on trust that the config's own checks don't see. */
export function parseLabels(text: string): Labelled {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refusal('bad_config', 'the labels are not JSON', cause);
  }
  if (!isObject(value)) throw refusal('bad_config', 'the labels are no object');
  const { policy, egress } = value;
  if (policy !== undefined && !isObject(policy)) throw refusal('bad_config', "the labels' policy is no object");
  if (
    egress !== undefined &&
    !(isObject(egress) && Array.isArray(egress.allow) && egress.allow.every((host) => typeof host === 'string'))
  )
    throw refusal('bad_config', "the labels' egress is no list of hosts");
  return value as unknown as Labelled;
}
