/**
 * The flat memory a shard's state lives in. A cell is named by its *handle*, the number of its first byte here: handles
 * stay valid when the memory grows, views do not, so nobody keeps a view across a write.
 */
declare const handle: unique symbol;

/** Handle of a cell's 64 bytes, for reading. */
export type Cell = number & { readonly [handle]: 'read' | 'write' };
/** Handle of a cell that counts as changed, so that it may be written. */
export type Edit = number & { readonly [handle]: 'write' };

/** No cell: reads as zeros, can't be written. */
export const NONE = 0 as Cell;

export class Memory {
  /** All of it, in the three forms in which it is read. */
  view!: DataView<ArrayBuffer>;
  bytes!: Uint8Array<ArrayBuffer>;
  words!: Int32Array<ArrayBuffer>;

  constructor(bytes: number) {
    this.#take(new ArrayBuffer(bytes));
  }

  #take(buffer: ArrayBuffer): void {
    this.view = new DataView(buffer);
    this.bytes = new Uint8Array(buffer);
    this.words = new Int32Array(buffer);
  }

  /** Adds zeros at the end until it has `bytes`; every view made before is void. */
  grow(bytes: number): void {
    this.#take(this.view.buffer.transfer(bytes));
  }
}
