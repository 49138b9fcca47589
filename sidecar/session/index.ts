/** Sessions of a sidecar (Layer Top). The SQLite store is apart, in `store-sqlite.ts`: Workers can't import it. */
export type { Contradiction } from './contradiction.ts';
export { SessionEndpoint } from './endpoint.ts';
export { verifyCall } from './proof.ts';
export { keepConnected, packetSocket } from './socket.ts';
export { type DirectionSnapshot, MemoryStore, type SessionStore, memoryStore } from './store.ts';
export { addCounters, noCounters } from './types.ts';
export type {
  CallProof,
  Counters,
  EndpointOptions,
  EndpointState,
  PacketSocket,
  Quote,
  Role,
  SessionCall,
  SessionCallOptions,
  SessionFacts,
  SessionHandler,
} from './types.ts';
