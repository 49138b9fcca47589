const solc = require('solc');
const { readFileSync } = require('node:fs');

if (process.argv.includes('--version')) {
  // forge reads the version from the second line, and knows the platforms of native builds only.
  const version = solc.version().replace('Emscripten.clang', 'Linux.g++');
  console.log(`solc, the solidity compiler commandline interface\nVersion: ${version}`);
} else if (process.argv.includes('--standard-json')) {
  process.stdout.write(solc.compile(readFileSync(0, 'utf8')));
} else {
  console.error('bin/solc: only --version and --standard-json');
  process.exitCode = 1;
}
