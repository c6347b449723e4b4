// An approver's browser: makes a key, and signs a plan with it once somebody admitted that.
//
//   node approve.mjs ADDRESS COOKIE PICTURES PLAN
//
// Says `key HEX`; goes on at the next line of standard input; says `signed`; and after another line waits until the page says `confirmed`.
import { createInterface } from "node:readline";
import { join } from "node:path";
import { end, open, signedIn, start } from "./browser.mjs";

const [address, cookie, pictures, plan] = process.argv.slice(2);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const browser = await start();
const context = await signedIn(browser, address, cookie, {});

const access = await open(context, address, "/access");
await access.locator("#key-make").click();
const line = await access.locator("#key-line", { hasText: "--admit-browser" }).textContent();
await access.screenshot({ path: join(pictures, "key.png"), fullPage: true });
const shown = await open(context, address, `/plans/${plan}`);
await shown.getByText("does not name renew").waitFor();
console.log(`key ${/=([0-9a-f]{64}) /.exec(line)[1]}`);
await lines.next();

// The page changes by itself when the root has admitted the key.
await access.getByText("The root admitted the key of this browser").waitFor();
await shown.locator("#approve").waitFor();
await shown.locator("#approve-reason").fill("it ends soon");
await shown.locator("#approve-change").fill("CHG-7");
await shown.screenshot({ path: join(pictures, "approve.png"), fullPage: true });
await shown.getByRole("button", { name: "Sign with this browser's key" }).click();
await shown.getByText("1 of 2").first().waitFor();
console.log("signed");
await lines.next();

await shown.getByText("What it came to").waitFor();
await shown.screenshot({ path: join(pictures, "approved.png"), fullPage: true });
console.log("confirmed");
await end(browser);
