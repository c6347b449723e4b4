// A new user of the demo: opens the link, sees the estate, sees a loss and its repair without asking again, and approves a renewal.
//
//   node demo.mjs LINK PICTURES
//
// Says what it saw, and goes on at the next line of standard input where whoever started it has something to do.
import { createInterface } from "node:readline";
import { join } from "node:path";
import { end, start, wrong } from "./browser.mjs";

const [link, pictures] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const browser = await start();
const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
const tab = await context.newPage();
tab.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
tab.on("pageerror", (error) => wrong.push(`${error}`));
const picture = (name) => tab.screenshot({ path: join(pictures, `demo-${name}.png`), fullPage: true });
const address = new URL(link).origin;

await tab.goto(link);
await tab.getByRole("button", { name: "Sign in" }).click();
await tab.getByText("untouched for").nth(2).waitFor();
console.log(`servers ${(await tab.locator("ul.cells .top a").allTextContents()).join(" ")}`);
await picture("estate");

await tab.getByRole("link", { name: "EX1", exact: true }).first().click();
await tab.locator("#live", { hasText: /^live$/ }).waitFor();
await tab.evaluate(() => (globalThis.neverLoadedAnew = true));
console.log("looks");
await lines.next();
// A page is made anew a little later than things happen, and what lasts for seconds may be over by then: the timeline keeps it.
await tab.locator("ol.timeline", { hasText: "unbound" }).waitFor();
console.log("unbound");
await picture("lost");
await tab.locator("ol.timeline", { hasText: "restore" }).waitFor();
console.log("planned");
await tab.locator("h1 .verdict", { hasText: "healthy" }).waitFor();
await tab.getByText("serves that certificate").first().waitFor();
if (!(await tab.evaluate(() => globalThis.neverLoadedAnew))) wrong.push("the page was loaded anew");
console.log("repaired");
await picture("repaired");

await tab.goto(`${address}/access`);
await tab.locator("#key-make").click();
const line = await tab.locator("#key-line", { hasText: "--admit-browser" }).textContent();
console.log(`key ${/=([0-9a-f]{64}) /.exec(line)[1]}`);
await lines.next();

await tab.goto(`${address}/plans`);
await tab.getByRole("row", { name: /EX2.*renew/ }).getByRole("link").first().click();
await tab.locator("#approve").waitFor();
await tab.locator("#approve-reason").fill("it ends soon");
await tab.getByText("The same by hand, in PowerShell").click();
await picture("plan");
await tab.getByRole("button", { name: "Sign with this browser's key" }).click();
await tab.getByText("1 of 2").first().waitFor();
console.log(`signed ${new URL(tab.url()).pathname.split("/").pop()}`);
await lines.next();
await tab.getByText("What it came to").waitFor();
await picture("renewed");
console.log("renewed");
await end(browser);
