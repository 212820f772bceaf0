// Prints Node's verdict, as a TLS server has it, on a client's chain: "ok" or "refused: why".
//
// Usage: node client_judge.mjs ROOTS.pem CHAIN.pem KEY.pem
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:tls';

const [roots, chain, key] = process.argv.slice(2).map((file) => readFileSync(file));
const server = createServer(
  { cert: chain, key, ca: roots, requestCert: true, rejectUnauthorized: false },
  (socket) => {
    console.log(socket.authorized ? 'ok' : `refused: ${socket.authorizationError}`);
    socket.destroy();
    server.close();
  },
);
server.listen(0, '127.0.0.1', () => {
  const client = connect({
    port: server.address().port,
    host: '127.0.0.1',
    cert: chain,
    key,
    rejectUnauthorized: false,
  });
  client.on('error', () => {});
});
