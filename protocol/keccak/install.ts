/** Import it first, for its effect, wherever a module may be made from bytes (Node, browsers): every keccak from then on is WebAssembly's. */
import { installKeccak } from '../hash.ts';
import { keccakModule } from './module.ts';

installKeccak(new WebAssembly.Module(keccakModule(true)), true);
