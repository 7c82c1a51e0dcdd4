// An upstream that believes nobody: it verifies the signed assertion of each request by the key set
// that the proxy publishes, and shows what the assertion says.
//
//   node verify.mjs PORT PROXY_HOST PROXY_PORT CA_FILE
import { createServer } from 'node:http';
import { request } from 'node:https';
import { readFileSync } from 'node:fs';
import { createLocalJWKSet, errors, jwtVerify } from 'jose'; // a dependency of oidc-provider

const [port, proxyHost, proxyPort, caFile] = process.argv.slice(2);
const ca = readFileSync(caFile);

// The proxy is on this machine, whatever DNS says of its name.
function fetchKeys() {
  return new Promise((resolve, reject) => {
    const options = {
      host: '127.0.0.1', port: proxyPort, servername: proxyHost, ca, agent: false,
      path: '/.well-known/pomerium/jwks.json', headers: { host: `${proxyHost}:${proxyPort}` },
    };
    request(options, (response) => {
      let body = '';
      response.on('data', (piece) => { body += piece; });
      response.on('end', () => {
        try { resolve(createLocalJWKSet(JSON.parse(body))); } catch (error) { reject(error); }
      });
    }).on('error', reject).end();
  });
}

let keys;

// The keys are fetched again when an assertion names a key that is not among them.
async function verify(token, host) {
  const rules = { issuer: host, audience: host, algorithms: ['ES256', 'RS256'] };
  keys ??= await fetchKeys();
  try {
    return await jwtVerify(token, keys, rules);
  } catch (error) {
    if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
    keys = await fetchKeys();
    return jwtVerify(token, keys, rules);
  }
}

createServer(async (incoming, response) => {
  const token = incoming.headers['x-pomerium-jwt-assertion'];
  const answer = (status, content) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(`${JSON.stringify(content, null, 2)}\n`);
  };
  if (!token) return answer(401, { verified: false, reason: 'the request has no assertion' });
  try {
    const { payload, protectedHeader } = await verify(token, proxyHost);
    return answer(200, { verified: true, path: incoming.url, header: protectedHeader, claims: payload });
  } catch (error) {
    return answer(401, { verified: false, reason: error.message });
  }
}).listen(port, '127.0.0.1', () => console.log(`listening on ${port}`));
