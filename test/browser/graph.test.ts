/** The explorer's graphs, over two shards, in a real browser: on a desktop and on a phone. */
import { existsSync } from 'node:fs';
import { type Browser, type Page, chromium } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type TestNetwork, network } from '../support/stack.ts';
import { EVIL, type Trade, trade } from './trade.ts';

const EXECUTABLE = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SIZES = { phone: { width: 360, height: 740 }, desktop: { width: 1280, height: 860 } };
/** What happened is on the page within this. */
const LIVE_MS = 30_000;
const ready = existsSync(EXECUTABLE);

describe.skipIf(!ready)('the graph', () => {
  let browser: Browser;
  let net: TestNetwork;
  let traded: Trade;

  beforeAll(async () => {
    net = await network({ worker: { shards: 2 } });
    traded = await trade(net);
    const args = ['--no-sandbox', '--disable-gpu', '--disable-background-networking'];
    browser = await chromium.launch({ executablePath: EXECUTABLE, headless: true, args });
  });
  afterAll(async () => {
    await browser?.close();
    await net?.stop();
  });

  const go = (page: Page, route: string) => page.goto(new URL(`/#${route}`, net.url).href);
  /** The address of the view that is drawn: some lead on to another. */
  const shown = (page: Page) =>
    page.evaluate(() => document.querySelector('.view')?.getAttribute('data-key') ?? undefined);
  const count = (page: Page, id: string) => page.getByTestId(id).count();

  async function open(viewport = SIZES.desktop): Promise<{ page: Page; errors: string[] }> {
    const page = await (await browser.newContext({ viewport })).newPage();
    const errors: string[] = [];
    page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
    page.on('pageerror', (error) => errors.push(String(error)));
    return { page, errors };
  }

  describe.each(Object.entries(SIZES))('on a %s', (_size, viewport) => {
    it('draws every view, in its width and without an error', async () => {
      const { page, errors } = await open(viewport);
      const { wide, order, escrow, workflow, committed, held, capability, buyer, far } = traded;
      const views: [route: string, testid: string, least: number][] = [
        [`/trace/${wide.shard}/${wide.chunk}`, 'step', 20],
        ['/graph', 'chunk-node', 10],
        ['/messages/0/1/2', 'message-status', 1],
        ['/workflows', 'workflows', 1],
        [`/workflows/${workflow}`, 'leg', 2],
        [`/workflows/${committed}`, 'leg-escrow', 2],
        [`/escrows/${held[0]}`, 'wait-node', 5],
        [`/escrows/${order}`, 'opened', 1],
        [`/escrows/${escrow}`, 'order', 1],
        [`/capabilities/${capability}`, 'capability', 1],
        [`/agents/${buyer.id}`, 'under-way', 1],
        [`/agents/${far.id}`, 'agent-rating', 1],
        ['/frames/1/3', 'frame', 1],
        ['/', 'shards', 1],
      ];
      for (const [route, testid, least] of views) {
        const before = await shown(page);
        await go(page, route);
        await expect.poll(() => shown(page), { timeout: LIVE_MS, message: route }).not.toBe(before);
        await expect
          .poll(() => count(page, testid), { timeout: LIVE_MS, message: route })
          .toBeGreaterThanOrEqual(least);
        const overflow = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        expect(overflow, `${route} overflows`).toBeLessThanOrEqual(0);
        expect(await page.locator('main h1').count(), `${route} has no title`).toBeGreaterThan(0);
        expect(await page.locator('main img, main script').count(), `${route} parses what it is told`).toBe(0);
      }
      expect(await page.evaluate(() => 'pwned' in window)).toBe(false);
      expect(errors).toEqual([]);
      await page.context().close();
    });
  });

  it('leads from a chunk to the chunk its message came from, and names what an attacker wrote as text', async () => {
    const { page, errors } = await open();
    await go(page, '/graph');
    const mark = page.getByTestId('message-mark').first();
    await mark.waitFor();
    await mark.click();
    await page.getByTestId('message-status').waitFor();
    await page.locator('.journey a[href^="#/trace/"]').first().click();
    await page.getByTestId('needed-by').getByRole('link').first().waitFor();
    await go(page, `/workflows/${traded.workflow}`);
    await page.getByTestId('legs').getByText(EVIL).waitFor();
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it('is walked with the arrow keys', async () => {
    const { page } = await open();
    await go(page, `/trace/${traded.wide.shard}/${traded.wide.chunk}`);
    const step = page.getByTestId('step').first();
    await step.focus();
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute('data-key'));
    const first = await focused();
    await page.keyboard.press('ArrowRight');
    const second = await focused();
    expect(second).not.toBe(first);
    await page.keyboard.press('ArrowLeft');
    await page.keyboard.press('ArrowDown');
    expect(await focused()).not.toBe(second);
    await page.keyboard.press('Enter');
    await page.waitForURL(/#\/frames\/0\/\d+$/);
    await page.context().close();
  });

  it('shows a message, and a held call that starts, without a reload', async () => {
    const { page } = await open();
    await go(page, '/graph');
    await page.getByTestId('messages').waitFor();
    const newest = () => page.getByTestId('messages').locator('tbody tr').first().getAttribute('data-key');
    const before = await newest();
    await traded.call();
    await expect.poll(newest, { timeout: LIVE_MS }).not.toBe(before);

    await go(page, `/escrows/${traded.held[0]}`);
    await page.getByTestId('waiting').waitFor();
    const waiting = () => page.getByTestId('waiting').textContent();
    expect(await waiting()).toContain('4 calls of 5 still held');
    await traded.answer();
    await expect.poll(waiting, { timeout: LIVE_MS }).toContain('2 calls of 5 still held');
    await page.context().close();
  });
});
