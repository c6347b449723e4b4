// A provider of OpenID Connect on a port that is given, for a client that is sent back to an address that is given:
//
//   node provider.mjs PORT ORIGIN
//
// Says `ready` when it listens. Whoever signs in as `anna` is of the group Exchange, `vera` of All, anybody else of none; any password is good.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const require = createRequire(join(process.env.NODE_MODULES, "from-here.js"));
const { Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));
const [port, origin] = process.argv.slice(2);
const groups = { anna: ["All", "Exchange"], vera: ["All"] };
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "backstay",
      client_secret: "a secret of: two+parts",
      redirect_uris: [`${origin}/sign-in/returned`],
      post_logout_redirect_uris: [`${origin}/sign-in`],
    },
  ],
  pkce: { required: () => true },
  scopes: ["openid", "profile", "groups"],
  claims: { openid: ["sub"], profile: ["preferred_username"], groups: ["groups"] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: id, groups: groups[id] ?? [] }),
  }),
});
provider.on("server_error", (_, error) => console.error(error));
const server = provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
// Whoever started it holds its standard input, and it ends with that.
process.stdin.resume().on("end", () => server.closeAllConnections() ?? process.exit(0));
