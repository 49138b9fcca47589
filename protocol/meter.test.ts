import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { concat, utf8 } from './bytes.ts';
import { Meter, type Rate, UNITS, type Unit } from './meter.ts';

const rate = (unit: Unit, more: Partial<Rate> = {}): Rate => ({ unit, each: 1, price: 1, base: 0, ...more });
const unitsOf = (unit: Unit, bytes: Uint8Array): number => {
  const meter = new Meter(rate(unit), 1e9);
  meter.count('response', bytes);
  return meter.units;
};

/** A WebSocket frame (RFC 6455 §5.2). */
function frame(opcode: number, length: number, { fin = true, masked = false } = {}): Uint8Array {
  const head = [(fin ? 128 : 0) | opcode];
  const mask = masked ? 128 : 0;
  if (length < 126) head.push(mask | length);
  else if (length < 65536) head.push(mask | 126, length >> 8, length & 255);
  else
    head.push(mask | 127, 0, 0, 0, 0, (length >>> 24) & 255, (length >> 16) & 255, (length >> 8) & 255, length & 255);
  return Uint8Array.from([...head, ...(masked ? [1, 2, 3, 4] : []), ...new Uint8Array(length).fill(129)]);
}
const grpc = (length: number): Uint8Array =>
  Uint8Array.from([0, 0, length >> 16, (length >> 8) & 255, length & 255, ...new Uint8Array(length)]);

describe('units', () => {
  test('WebSocket messages, of any length and masking, in however many frames; control frames are none', () => {
    expect(unitsOf('websocket', frame(1, 5))).toBe(1);
    expect(
      unitsOf('websocket', concat(frame(2, 0), frame(1, 200), frame(2, 70_000, { masked: true }), frame(1, 3))),
    ).toBe(4);
    const fragments = concat(
      frame(1, 3, { fin: false }),
      frame(9, 4),
      frame(0, 3, { fin: false }),
      frame(10, 0),
      frame(0, 1),
    );
    expect(unitsOf('websocket', fragments)).toBe(1);
    expect(unitsOf('websocket', concat(frame(9, 4), frame(10, 4), frame(8, 2)))).toBe(0);
    // What no end would take is counted all the same: a message that begins within another, or without a beginning.
    expect(unitsOf('websocket', concat(frame(1, 1, { fin: false }), frame(1, 1)))).toBe(2);
    expect(unitsOf('websocket', concat(frame(0, 1), frame(0, 1)))).toBe(2);
  });

  test('gRPC messages, by their prefix', () => {
    expect(unitsOf('grpc', new Uint8Array(0))).toBe(0);
    expect(unitsOf('grpc', concat(grpc(0), grpc(3), grpc(70_000)))).toBe(3);
    expect(unitsOf('grpc', grpc(3).subarray(0, 2))).toBe(1);
  });

  test.each(['\n', '\r', '\r\n'])(
    'events of a stream with lines that end in %j; comments and empty lines are none',
    (end) => {
      const text = [': hello', '', 'data: 1', 'id: 7', '', '', ': there', 'data: 2', '', 'event: x', '', 'data: cut'];
      expect(unitsOf('sse', utf8(text.join(end)))).toBe(3);
    },
  );

  test('of a request to a stream of events nothing is counted', () => {
    const meter = new Meter(rate('sse'), 10);
    meter.count('request', utf8('data: 1\n\n'));
    expect(meter.units).toBe(0);
  });
});

const chunked = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 20 });
/** Bytes that look like frames of each kind often enough. */
const likely = fc.oneof(
  chunked,
  fc.array(
    fc.constantFrom(
      frame(1, 3),
      frame(2, 130, { fin: false }),
      frame(0, 2),
      grpc(4),
      utf8('data: x\n\n'),
      utf8(':\r\n\r\n'),
    ),
    { maxLength: 20 },
  ),
);

test('any bytes have one count, however they are cut', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...UNITS),
      likely,
      fc.infiniteStream(fc.integer({ min: 1, max: 9 })),
      (unit, chunks, steps) => {
        const whole = concat(...chunks);
        const meter = new Meter(rate(unit), 1e9);
        for (let at = 0; at < whole.length;) {
          const step = steps.next().value as number;
          meter.count('response', whole.subarray(at, at + step));
          at += step;
        }
        expect(meter.units).toBe(unitsOf(unit, whole));
      },
    ),
  );
});

test('what fits is counted, costs no more than the most, and is all but the next unit', () => {
  const rates = fc.record({
    unit: fc.constantFrom(...UNITS),
    each: fc.integer({ min: 1, max: 7 }),
    price: fc.integer({ min: 1, max: 9 }),
    base: fc.integer({ min: 0, max: 9 }),
  });
  fc.assert(
    fc.property(rates, fc.integer({ min: 0, max: 60 }), likely, (of, room, chunks) => {
      const payee = new Meter(of, of.base + room);
      const payer = new Meter(of, of.base + room);
      const whole = concat(...chunks);
      let sent = 0;
      for (const chunk of chunks) {
        const fits = payee.fit(chunk);
        payer.count('response', chunk.subarray(0, fits));
        sent += fits;
        if (fits < chunk.length) break;
      }
      expect(payer.units).toBe(payee.units);
      expect(payer.price).toBe(payee.price);
      expect(payee.isOver).toBe(false);
      expect(of.base + of.price * Math.ceil(payee.units / of.each)).toBeLessThanOrEqual(payee.max);
      // One byte more, and it would have been over.
      if (sent < whole.length) {
        payer.count('response', whole.subarray(sent, sent + 1));
        expect(payer.isOver).toBe(true);
      }
    }),
  );
});

test('the price is capped at the most, whatever a request sends', () => {
  const meter = new Meter(rate('byte', { each: 10, price: 3, base: 2 }), 11);
  meter.count('request', new Uint8Array(30));
  expect([meter.price, meter.isOver]).toEqual([11, false]);
  meter.count('request', new Uint8Array(1));
  expect([meter.price, meter.isOver]).toEqual([11, true]);
  expect(meter.fit(new Uint8Array(5))).toBe(0);
});
