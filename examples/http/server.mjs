// A service that knows nothing of AGNT2: it listens where PORT says, and answers.
import http from 'node:http';

const server = http.createServer((request, response) => {
  response.setHeader('content-type', 'application/json');
  response.end(
    `${JSON.stringify({ now: new Date().toISOString(), askedBy: request.headers['agnt2-caller'] ?? null })}\n`,
  );
});
server.listen(process.env.PORT, '127.0.0.1', () => console.log('the clock is up'));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
