// A mail relay and a program that is called, on ports that are given: says what arrives, a line of JSON each.
//
//   node receiver.mjs SMTP-PORT HTTP-PORT
//
// Says `ready` when both listen. The relay wants the name `backstay` and the password `secret`.
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { join } from "node:path";

const require = createRequire(join(process.env.NODE_MODULES, "from-here.js"));
const { SMTPServer } = require("smtp-server");
const [smtp, http] = process.argv.slice(2).map(Number);
const say = (what) => console.log(JSON.stringify(what));
const text = async (stream) => {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString();
};

const relay = new SMTPServer({
  allowInsecureAuth: true,
  disabledCommands: ["STARTTLS"],
  onAuth: ({ username, password }, _, done) => {
    const known = username === "backstay" && password === "secret";
    done(known ? null : new Error("unknown"), { user: username });
  },
  // It refuses half-way: one of whom it is asked to write to is nobody here.
  onRcptTo: ({ address }, _, done) => done(address.startsWith("nobody@") ? new Error("no such person") : null),
  onData: async (stream, { envelope }, done) => {
    const mail = await text(stream);
    say({ by: "mail", to: envelope.rcptTo.map(({ address }) => address), mail });
    done();
  },
});
const program = createServer(async (request, response) => {
  const body = await text(request);
  say({ by: "webhook", path: request.url, id: request.headers["idempotency-key"], signature: request.headers["backstay-signature"], body });
  response.writeHead(204).end();
});
// Whoever started it holds its standard input, and it ends with that.
process.stdin.resume().on("end", () => process.exit());
relay.listen(smtp, "127.0.0.1", () => program.listen(http, "127.0.0.1", () => console.log("ready")));
