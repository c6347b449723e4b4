// A browser on another machine: signs in by a provider, is somebody by a group, signs out here and there; and is nobody without a group.
//
//   node oidc.mjs ADDRESS PICTURES
import { join } from "node:path";
import { end, start, wrong } from "./browser.mjs";

const [address, pictures] = process.argv.slice(2);
const browser = await start();

// The form of the provider, which asks anew after each sign-out.
async function provided(tab, name) {
  await tab.locator("input[name=login]").fill(name);
  await tab.locator("input[name=password]").fill("any");
  await tab.locator("button[type=submit]").click();
  await tab.getByRole("button", { name: "Continue" }).click();
}
async function signIn(name) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const tab = await context.newPage();
  let answer;
  tab.on("response", (response) => {
    if (response.url().includes("/sign-in/returned")) answer = response;
  });
  await tab.goto(`${address}/`);
  if (tab.url() !== `${address}/sign-in`) wrong.push(`expected to be led to the sign-in, found ${tab.url()}`);
  await tab.screenshot({ path: join(pictures, "sign-in.png") });
  await tab.getByRole("link", { name: "Sign in with Contoso" }).click();
  await provided(tab, name);
  await tab.waitForURL((url) => url.origin === address);
  return { context, tab, returned: () => answer.url() };
}
const said = async (what, locator) => locator.waitFor().then(() => console.log(what));

const anna = await signIn("anna");
await said("operator", anna.tab.getByText("anna, operator"));
// The provider is on this host as well.
const own = async (context) => (await context.cookies(address)).filter(({ name }) => name.includes("backstay"));
for (const { name, secure, httpOnly, sameSite } of await own(anna.context))
  console.log(`cookie ${name} ${secure} ${httpOnly} ${sameSite}`);
// The same answer again, in the same browser and in another one.
for (const context of [anna.context, await browser.newContext({ ignoreHTTPSErrors: true })]) {
  const tab = await context.newPage();
  const answer = await tab.goto(anna.returned());
  console.log(`replayed ${answer.status()}`);
  await tab.close();
}
// A link in a mail: the cookie stays at home at first, and the page is shown all the same.
const mail = await anna.context.newPage();
await mail.route("http://mail.test/", (route) => route.fulfill({ contentType: "text/html", body: `<a href="${address}/plans">plans</a>` }));
await mail.goto("http://mail.test/");
await mail.getByRole("link").click();
await said("from a mail", mail.getByRole("heading", { level: 1, name: /plan/i }));

await anna.tab.getByRole("button", { name: "Sign out" }).click();
await anna.tab.getByRole("heading", { name: "Signed out" }).waitFor();
await anna.tab.screenshot({ path: join(pictures, "signed-out.png") });
await anna.tab.goto(`${address}/plans`);
if (anna.tab.url() !== `${address}/sign-in`) wrong.push(`signed out, and still shown ${anna.tab.url()}`);
await anna.tab.goto(`${address}/signed-out`);
await anna.tab.getByRole("link", { name: "Sign out of Contoso, too" }).click();
await anna.tab.getByRole("button", { name: /sign me out/i }).click();
await anna.tab.waitForURL(`${address}/sign-in`);
console.log("signed out");

const vera = await signIn("vera");
await said("viewer", vera.tab.getByText("vera, viewer"));
const carl = await signIn("carl");
await said("denied", carl.tab.getByRole("heading", { name: "Not for you" }));
console.log(await carl.tab.locator(".lead").textContent());
await carl.tab.screenshot({ path: join(pictures, "denied.png") });
console.log(`cookies of nobody ${(await own(carl.context)).length}`);
await end(browser);
