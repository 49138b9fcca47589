/**
 * One step of a frame by itself (docs/protocol.md §3): what L1 executes when a dispute has come down to it. All steps of a
 * frame, one after the other, come to what `Engine.run` comes to.
 */
import { type Bundle, decodeBundle } from './bundle.ts';
import { type Context, type Engine, FrameKind, stepsOf } from './engine.ts';
import { codeOf } from './errors.ts';
import { BUNDLE_SLOTS } from './messages.ts';
import { MAX_NUMBERS, runOp } from './ops/index.ts';
import { type Outcome, Status } from './status.ts';

/** What a step came to, and the context that the next one has. */
export interface StepOutcome extends Outcome {
  readonly context: Context;
}

/** null for what is no bundle. */
export function bundleIn(frame: Uint8Array): Bundle | null {
  if (frame[0] !== FrameKind.bundle) return null;
  try {
    return decodeBundle(frame);
  } catch (error) {
    if (codeOf(error) !== 'malformed') throw error;
    return null;
  }
}

/**
 * Executes step `index` of the frame at place `seq`: 0 opens it, i ≥ 1 is interaction i − 1. `bundle` is what
 * {@link bundleIn} says of the frame, where somebody asked already. Throws `RangeError` for a step that the frame does not have.
 */
export function runStep(
  engine: Engine,
  seq: number,
  frame: Uint8Array,
  index: number,
  context: Context,
  bundle: Bundle | null = bundleIn(frame),
): StepOutcome {
  const steps = stepsOf(frame);
  if (!(index >= 0 && index < steps)) throw new RangeError(`the frame has ${steps} steps, none is number ${index}`);
  const { status, value } =
    index === 0 ? openFrame(engine, seq, frame, bundle) : runInteraction(engine, frame, index - 1, context, bundle);
  const isAccepted = index === 0 ? status === Status.ok : context === 1 && bundle !== null;
  return { status, value, context: index + 1 === steps ? 0 : isAccepted ? 1 : 2 };
}

function openFrame(engine: Engine, seq: number, frame: Uint8Array, bundle: Bundle | null): Outcome {
  const { machine } = engine;
  if (frame[0] === FrameKind.bundle && seq === machine.seq) {
    machine.seq = seq + 1;
    return { status: engine.open(bundle), value: 0 };
  }
  engine.run(seq, frame);
  return { status: engine.statuses[0], value: engine.values[0] };
}

function runInteraction(
  { machine }: Engine,
  frame: Uint8Array,
  i: number,
  context: Context,
  bundle: Bundle | null,
): Outcome {
  if (context !== 1 || bundle === null) return { status: Status.bundle_refused, value: 0 };
  const { actor, codes, numbers, starts } = bundle;
  machine.frame = frame;
  machine.slots = BUNDLE_SLOTS;
  machine.value = 0;
  const status = runOp(machine, actor, codes[i], numbers, i * MAX_NUMBERS, starts[i], starts[i + 1]);
  return { status, value: machine.value };
}
