// Walks pages in a headless browser, in both colour schemes, on a telephone and on a wide screen: no violation that axe finds, no error on the
// console, nothing that the content security policy stops, nothing wider than the screen, and by keyboard the first stop leads past everything to
// the content. Leaves a picture of each.
//
//   node walk.mjs ADDRESS COOKIE PICTURES ROLE PAGE...
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { end, go, require, signedIn, start, wrong } from "./browser.mjs";

const [address, cookie, pictures, role, ...pages] = process.argv.slice(2);
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const browser = await start();
mkdirSync(join(pictures, role), { recursive: true });

// Everybody is walked with on a dark telephone and on a bright wide screen; who may do most, on all four.
const screens = [["dark", 390], ["light", 1280], ["light", 390], ["dark", 1280]].slice(0, role === "admin" ? 4 : 2);
// All at once: most of the time a page waits to be live.
const walked = screens.map(async ([colorScheme, width], screen) => {
  const context = await signedIn(browser, address, cookie, { colorScheme, viewport: { width, height: 900 } });
  // Put there by the browser, which asks no policy; whatever the page itself does is stopped by it.
  await context.addInitScript({ content: axe });
  const tab = await context.newPage();
  for (const page of pages) {
    await go(tab, address, page);
    // Pages that are answers to a question stay as they are.
    if (await tab.locator("main[data-live]").count()) await tab.locator("#live", { hasText: /^live$/ }).waitFor();
    const name = `${page.replaceAll(/\W+/g, "_")}-${colorScheme}-${width}.png`;
    await tab.screenshot({ path: join(pictures, role, name), fullPage: true });
    const beyond = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (beyond > 0) wrong.push(`${page}: ${beyond} pixels wider than a screen of ${width}`);
    const violations = await tab.evaluate(async () => (await globalThis.axe.run({ resultTypes: ["violations"] })).violations);
    for (const { id, nodes } of violations) wrong.push(`${page}, ${colorScheme}, ${width}: ${id}: ${nodes[0].html}`);
    await tab.keyboard.press("Tab");
    await tab.keyboard.press("Enter");
    const focused = await tab.evaluate(() => document.activeElement?.id);
    if (focused !== "main") wrong.push(`${page}: expected the first stop to lead to the content, found ${focused}`);
    if (screen === 0) console.log(`walked ${page}`);
  }
  await context.close();
});
await Promise.all(walked);
// Who sees most reads them without scripts.
if (role === "admin") {
  const plain = await (await signedIn(browser, address, cookie, { javaScriptEnabled: false })).newPage();
  for (const page of pages) {
    await go(plain, address, page);
    if ((await plain.locator("main h1").count()) !== 1) wrong.push(`${page}: expected one heading without scripts`);
  }
}
await end(browser);
