import { existsSync } from 'node:fs';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stack } from '../support/stack.ts';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const SIZES = { phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 860 } };
/** A batch is derived, posted and seen again within this. */
const SETTLED_MS = 120_000;
const ready = existsSync(EXECUTABLE);
if (!ready)
  console.warn(`The explorer is not tested: no browser at ${EXECUTABLE}. Install chromium, or name one in CHROMIUM.`);

/** Base units of an amount as the page writes it. */
const units = (text: string) => BigInt(text.replace(/[^\d.-]/g, '').replace('.', ''));

const text = async (page: Page, id: string) => (await page.getByTestId(id).first().textContent())?.trim() ?? '';
/** Waits until a check has passed. */
const settled = (page: Page, id: string) =>
  page.locator(`[data-testid="${id}"].ok`).first().waitFor({ timeout: SETTLED_MS });
const overflow = (page: Page) =>
  page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

/** Opens agents one by one until one shows a call to follow. */
async function toCall(page: Page): Promise<void> {
  const agents = page.getByTestId('agents').locator('tbody tr a.agent');
  await agents.first().waitFor();
  const links = await agents.evaluateAll((all) => all.map((a) => a.getAttribute('href') ?? ''));
  for (const link of links) {
    await page.getByTestId('agents').locator(`a.agent[href="${link}"]`).click();
    await page.getByTestId('agent-balance').waitFor();
    expect(await text(page, 'agent-id')).toBe(link.split('/').at(-1));
    if (await page.getByTestId('follow').count()) return;
    await page.goBack();
    await agents.first().waitFor();
  }
  throw new Error('no agent shows a call in the newest chunks: is there traffic on the stack?');
}

describe.skipIf(!ready)('the explorer', () => {
  let browser: Browser;
  let url: string;

  beforeAll(async () => {
    ({ url } = await stack());
    browser = await chromium.launch({ executablePath: EXECUTABLE, headless: true, args: FLAGS });
  });
  afterAll(() => browser?.close());

  /** A fresh page, and the errors it meets. */
  async function open(viewport = SIZES.desktop): Promise<{ page: Page; errors: string[]; context: BrowserContext }> {
    const context = await browser.newContext({ viewport });
    const page = await context.newPage();
    const errors: string[] = [];
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('pageerror', (error) => errors.push(String(error)));
    return { page, errors, context };
  }

  const go = (page: Page, route: string) => page.goto(new URL(`/#${route}`, url).href);

  describe.each(Object.entries(SIZES))('on a %s', (_size, viewport) => {
    it('leads from an agent to a call and on to its batch, every proof verified', async () => {
      const { page, errors, context } = await open(viewport);
      await go(page, '/');
      await page.getByTestId('balances').waitFor();
      expect(units(await text(page, 'balances'))).toBeGreaterThan(0n);
      expect(Number((await text(page, 'chunks')).replace(/\D/g, ''))).toBeGreaterThan(0);

      await page.getByRole('navigation', { name: 'Views' }).getByRole('link', { name: 'Agents' }).click();
      await toCall(page);
      await page.getByTestId('prove').click();
      await settled(page, 'agent-proof');
      await settled(page, 'agent-checkpoint');
      await page.getByTestId('follow').first().click();

      await page.getByTestId('verdict').waitFor();
      expect(await text(page, 'invoke-status')).toBe('ok');
      await settled(page, 'escrow-proof');
      expect(units(await text(page, 'escrow-amount'))).toBeGreaterThan(0n);
      for (const check of [
        'invoke-signature',
        'receipt-invoke-hash',
        'receipt-invoke-outcomes',
        'receipt-invoke-signature',
        'inclusion-invoke',
      ])
        await settled(page, check);
      await page
        .getByTestId('call-l1')
        .filter({ hasText: /posted|final/ })
        .waitFor({ timeout: SETTLED_MS });
      expect(await text(page, 'verdict')).toMatch(/^✓ \d+ of \d+ checks pass/);

      await page.getByTestId('inclusion-invoke').getByRole('link').click();
      await page.getByTestId('batch-state').waitFor();
      expect(await text(page, 'batch-state')).toMatch(/posted|final/);
      expect(await page.getByTestId('batch-tx').getAttribute('data-copy')).toMatch(/^0x[0-9a-f]{64}$/);
      await settled(page, 'batch-pre');
      await settled(page, 'batch-prev');
      await page.getByTestId('prove-frame').first().click();
      await settled(page, 'batch-inclusion');
      expect(errors).toEqual([]);
      await context.close();
    });

    it('fits every view, without an error', async () => {
      const { page, errors, context } = await open(viewport);
      for (const route of [
        '/',
        '/agents',
        '/agents/0:1',
        '/services',
        '/services/0:1',
        '/sessions',
        '/sessions/0:1',
        '/trace',
        '/trace/0/0',
        '/frames/0/0',
        '/batches',
        '/batches/0',
        '/batches/1',
      ]) {
        await go(page, route);
        await page.locator(`.view[data-key="#${route}"]`).waitFor();
        expect(await overflow(page), `${route} overflows`).toBeLessThanOrEqual(0);
        expect(
          await page.locator('main h1, main [data-testid^="empty"]').count(),
          `${route} has no title`,
        ).toBeGreaterThan(0);
      }
      expect(errors).toEqual([]);
      await context.close();
    });
  });

  it('shows what happens without a reload', async () => {
    const { page, context } = await open();
    await go(page, '/');
    await page.getByTestId('receipts').waitFor();
    const before = await text(page, 'receipts');
    // An agent that calls another again: an escrow, its answer, and soon a batch.
    const { stack: running } = await stack();
    const answer = await fetch(`${running.sidecars.newcomer.to('archive')}/papers/1`);
    expect(answer.status).toBe(200);
    await page.waitForFunction(
      (then) => document.querySelector('[data-testid="receipts"]')?.textContent !== then,
      before,
      { timeout: SETTLED_MS },
    );
    expect(Number((await text(page, 'receipts')).replace(/\D/g, ''))).toBeGreaterThan(
      Number(before.replace(/\D/g, '')),
    );
    await context.close();
  });

  it('draws what an attacker wrote as text', async () => {
    const { page, errors, context } = await open();
    const evil = '<img src=x onerror="window.pwned=1"><script>window.pwned=1</script>';
    await page.route(/\/agents(\/\d+:\d+)?(\?.*)?$/, async (route) => {
      const body = await (await route.fetch()).json();
      for (const agent of body.agents ?? [body]) Object.assign(agent, { name: evil, description: evil });
      await route.fulfill({ json: body });
    });
    await go(page, '/agents');
    await page.getByText(evil).first().waitFor();
    await page.getByTestId('agents').locator('a.agent').first().click();
    await page.getByRole('heading', { level: 1 }).getByText(evil).waitFor();
    expect(await page.evaluate(() => 'pwned' in window)).toBe(false);
    expect(await page.locator('main img, main script').count()).toBe(0);
    expect(errors).toEqual([]);
    await context.close();
  });

  it('says when the gateway is unreachable and recovers by itself', async () => {
    const { page, context } = await open();
    await go(page, '/');
    await page.getByTestId('balances').waitFor();
    await page.route(/\/(feed|status)/, (route) => route.abort());
    await page.getByTestId('banner').waitFor({ state: 'visible', timeout: 15_000 });
    expect(await text(page, 'banner')).toContain('Can’t reach the gateway');
    expect(await text(page, 'balances')).not.toBe('');
    await page.unroute(/\/(feed|status)/);
    await page.getByTestId('banner').waitFor({ state: 'hidden', timeout: 15_000 });
    await context.close();
  });

  it('is usable from the keyboard', async () => {
    const { page, context } = await open();
    await go(page, '/agents');
    await page.getByTestId('agents').waitFor();
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe('Skip to content');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.closest('main') !== null)).toBe(true);
    await page.keyboard.press('/');
    await page.keyboard.type('0:1');
    await page.keyboard.press('Enter');
    await page.waitForURL(/#\/agents\/0:1$/);
    const owner = page.locator('button.hash').first();
    await owner.focus();
    expect(await page.locator('#tip').textContent()).toBe(await owner.getAttribute('data-copy'));
    await context.close();
  });
});
