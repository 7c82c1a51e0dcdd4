// A certified OpenID Connect provider on loopback.
//
//   node server.mjs PORT SITE SETTINGS
//
// SITE is the origin of `authenticate_service_url`. SETTINGS is JSON; its members are all optional:
//   ttl          lifetimes in seconds, over those below
//   algs         algorithms of ID tokens; there is a client `c-ALG` for each, with the secret `secret`
//   clientAuth   how clients may authenticate
//   only         the only client there is
//   userinfo     false: there is no UserInfo endpoint
//   autoConsent  true: nobody is asked for consent, and there is a refresh token nevertheless
//   smallIdToken true: ID tokens have no claims that UserInfo has
//   rotate       false: a refresh token is used again and again
//   backchannel  'sub' or 'sid': it posts a logout token to SITE/.pomerium/backchannel_logout when
//                somebody signs out here; with 'sid' it names one session, else the user alone
//   machines     true: there is a client `c-machine` for the grant `client_credentials`, and access
//                tokens for a `resource` are signed (ES256) and name it as their audience
//
// Keys are new at each start. Any login name is a user, and the password is not looked at.
//   POST /control/users/NAME   JSON merged into the user: {"disabled": true}, {"groups": [...]},
//                              or any other claim, such as {"email_verified": false}
//   POST /control/site         JSON: {"port": 8443, "ca": "PEM"}: where SITE is on 127.0.0.1
//   POST /control/failures     JSON: {"/token": 500} answers that path with the status, null ends it
// Each request is printed as `METHOD PATH STATUS`, each grant as `grant TYPE USER` and its secrets,
// line by line, as `secret NAME VALUE`. Each logout token is printed as `logout USER success` or
// `logout USER error ...`.
import Provider from 'oidc-provider';
import * as jose from 'jose'; // a dependency of oidc-provider
import { randomUUID } from 'node:crypto';
import https from 'node:https';
import tls from 'node:tls';

const [port, site, json] = process.argv.slice(2);
const settings = JSON.parse(json ?? '{}');
const algs = settings.algs ?? ['ES256', 'RS256', 'PS256', 'EdDSA', 'ES384'];

const key = async (alg) => {
  const { privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  return { ...await jose.exportJWK(privateKey), alg, use: 'sig', kid: randomUUID() };
};

const client = (client_id, more) => ({
  client_id,
  client_secret: 'secret',
  grant_types: ['authorization_code', 'refresh_token'],
  redirect_uris: [`${site}/oauth2/callback`],
  post_logout_redirect_uris: [`${site}/.pomerium/signed_out`],
  ...(settings.backchannel && {
    backchannel_logout_uri: `${site}/.pomerium/backchannel_logout`,
    backchannel_logout_session_required: settings.backchannel === 'sid',
  }),
  ...more,
});

const clients = algs.map((alg) => client(`c-${alg}`, { id_token_signed_response_alg: alg }));
const first = { id_token_signed_response_alg: algs[0] };
clients.push(client('c-odd-secret', { ...first, client_secret: 'se+cr/et %:&=' }));
clients.push(client('c-post', { ...first, token_endpoint_auth_method: 'client_secret_post' }));
clients.push(client('c-public', {
  ...first,
  client_secret: undefined,
  token_endpoint_auth_method: 'none',
}));
clients.push(client('c-signed-userinfo', { ...first, userinfo_signed_response_alg: algs[0] }));

if (settings.machines) {
  clients.push({
    client_id: 'c-machine',
    client_secret: 'secret',
    grant_types: ['client_credentials'],
    redirect_uris: [],
    response_types: [],
  });
}

const wanted = clients.filter(({ client_id }) => [client_id, undefined].includes(settings.only));

const users = new Map();
const user = (name) => {
  if (!users.has(name)) {
    const email = name.includes('@') ? name : `${name}@example.com`;
    users.set(name, { email, email_verified: true, name, groups: ['dev'] });
  }
  return users.get(name);
};

const autoConsent = async (ctx) => {
  const { client: { clientId }, session: { accountId }, result, params } = ctx.oidc;
  const known = result?.consent?.grantId ?? ctx.oidc.session.grantIdFor(clientId);
  if (known) return ctx.oidc.provider.Grant.find(known);
  const grant = new ctx.oidc.provider.Grant({ clientId, accountId });
  grant.addOIDCScope(params.scope);
  await grant.save();
  return grant;
};

// Whatever port the URL of the site has, it is at this one.
const place = {};
const agent = new https.Agent();
agent.createConnection = () => tls.connect({
  ...place,
  host: '127.0.0.1',
  servername: new URL(site).hostname,
});

const provider = new Provider(`http://127.0.0.1:${port}`, {
  jwks: { keys: await Promise.all(algs.map(key)) },
  cookies: { keys: ['test'] },
  conformIdTokenClaims: settings.smallIdToken ?? false,
  enabledJWA: { idTokenSigningAlgValues: algs, userinfoSigningAlgValues: algs },
  clients: wanted,
  ...(settings.clientAuth && { clientAuthMethods: settings.clientAuth }),
  ...(settings.autoConsent && { loadExistingGrant: autoConsent, issueRefreshToken: () => true }),
  rotateRefreshToken: settings.rotate ?? true,
  claims: {
    openid: ['sub', 'sid'],
    email: ['email', 'email_verified'],
    profile: ['name', 'groups', 'department'],
  },
  findAccount: (_, id) => {
    const { disabled, ...claims } = user(id);
    return disabled ? undefined : { accountId: id, claims: () => ({ sub: id, ...claims }) };
  },
  httpOptions: () => ({ agent }),
  features: {
    devInteractions: { enabled: true },
    backchannelLogout: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    revocation: { enabled: true },
    ...(settings.machines && {
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => undefined,
        getResourceServerInfo: (_, resource) => ({
          scope: 'api',
          audience: resource,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    }),
    userinfo: { enabled: settings.userinfo ?? true },
    jwtUserinfo: { enabled: settings.userinfo ?? true },
  },
  ttl: {
    AccessToken: 3600,
    AuthorizationCode: 60,
    Grant: 86400,
    IdToken: 3600,
    Interaction: 3600,
    RefreshToken: 86400,
    Session: 86400,
    ...settings.ttl,
  },
});

const failures = {};
provider.use(async (ctx, next) => {
  const name = ctx.path.match(/^\/control\/users\/([^/]+)$/)?.[1];
  const entries = { '/control/failures': failures, '/control/site': place };
  const isControl = name !== undefined || entries[ctx.path] !== undefined;
  if (isControl && ctx.method === 'POST') {
    const chunks = [];
    for await (const chunk of ctx.req) chunks.push(chunk);
    const entry = name === undefined ? entries[ctx.path] : user(decodeURIComponent(name));
    Object.assign(entry, JSON.parse(Buffer.concat(chunks).toString()));
    for (const [member, value] of Object.entries(entry)) {
      if (value === null) delete entry[member];
    }
    ctx.status = 204;
  } else if (failures[ctx.path] !== undefined) {
    ctx.status = failures[ctx.path];
    ctx.body = 'this provider has a fault';
  } else {
    await next();
  }
  // Paths of one sign-in have an id in their end.
  console.log(`${ctx.method} ${ctx.path.replace(/^\/(auth|interaction)\/.*/, '/$1/…')} ${ctx.status}`);
});
provider.on('grant.success', (ctx) => {
  console.log(`grant ${ctx.oidc.params.grant_type} ${ctx.oidc.account?.accountId}`);
  const { code, code_verifier, client_secret } = ctx.oidc.params;
  const { access_token, refresh_token, id_token } = ctx.body ?? {};
  const secrets = { code, code_verifier, client_secret, access_token, refresh_token, id_token };
  for (const [name, value] of Object.entries(secrets)) {
    if (value) console.log(`secret ${name} ${value}`);
  }
});
provider.on('backchannel.success', (_, client, user) => console.log(`logout ${user} success`));
provider.on('backchannel.error', (_, error, client, user) => {
  console.log(`logout ${user} error ${error.message}`);
});
provider.on('server_error', (_, error) => console.log(`server error: ${error.stack}`));

provider.listen(port, '127.0.0.1', () => console.log(`listening on ${port}`));
