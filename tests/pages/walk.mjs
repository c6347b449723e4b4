// Walks pages in a headless browser, in both colour schemes, on a telephone and on a wide screen: no violation that axe finds, no error on the
// console, nothing that the content security policy stops. Leaves a picture of each.
//
//   node walk.mjs ADDRESS COOKIE PICTURES PAGE...
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { end, open, require, signedIn, start, wrong } from "./browser.mjs";

const [address, cookie, pictures, ...pages] = process.argv.slice(2);
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const browser = await start();

async function opened(page, ways) {
  const context = await signedIn(browser, address, cookie, ways);
  return { context, tab: await open(context, address, page) };
}

for (const page of pages) {
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [390, 1280]) {
      const ways = { colorScheme, viewport: { width, height: 900 } };
      const { context, tab } = await opened(page, ways);
      await tab.locator("#live", { hasText: /^live$/ }).waitFor();
      const name = `${page.replaceAll(/\W+/g, "_")}-${colorScheme}-${width}.png`;
      await tab.screenshot({ path: join(pictures, name), fullPage: true });
      const beyond = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (beyond > 0) wrong.push(`${page}: ${beyond} pixels wider than a screen of ${width}`);
      await context.close();
      // What axe puts into a page is not the page's own, so the policy is not asked here, and was above.
      const { context: looked, tab: bare } = await opened(page, { ...ways, bypassCSP: true });
      await bare.evaluate(axe);
      const { violations } = await bare.evaluate(() => axe.run());
      for (const { id, nodes } of violations) wrong.push(`${page}, ${colorScheme}, ${width}: ${id}: ${nodes[0].html}`);
      await looked.close();
    }
  }
  // It is read without scripts, and by keyboard: the first stop leads past everything to the content.
  const { context, tab } = await opened(page, { javaScriptEnabled: false });
  if ((await tab.locator("main h1").count()) !== 1) wrong.push(`${page}: expected one heading without scripts`);
  await context.close();
  const { context: keys, tab: typed } = await opened(page, {});
  await typed.keyboard.press("Tab");
  await typed.keyboard.press("Enter");
  const focused = await typed.evaluate(() => document.activeElement?.id);
  if (focused !== "main") wrong.push(`${page}: expected the first stop to lead to the content, found ${focused}`);
  await keys.close();
  console.log(`walked ${page}`);
}

await end(browser);
