/** Import it first, for its effect, wherever a module may be made from bytes (Node, browsers): every column from then on is WebAssembly's. */
import { installKernel } from './kernel.ts';
import { kernelModule } from './module.ts';

installKernel(new WebAssembly.Module(kernelModule()));
