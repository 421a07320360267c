// What people do on the dashboard, in their order: the later tests stand on the earlier ones.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, test as run } from 'node:test';

import { Server, until } from './server.mjs';

const { chromium } = createRequire(`${process.env.KATAGAMI_BROWSER_DRIVER}/`)('playwright-core');

/** Seconds that a quick training may take on two busy cores. */
const TRAINING = 150;
const SITE = 'osaka';
/** Whoever names a site chooses what is shown: it must stay text. */
const TITLE = 'Ōsaka <img src=x onerror=alert(1)> & Söhne';

let server;
let browser;
/** What went wrong in any page: errors of scripts, and what the security policy blocked. */
const complaints = [];

/** A step of the story. What comes after one that failed is skipped: it would only wait in vain. */
let failed = null;
function test(name, step) {
  run(name, async (t) => {
    if (failed) return t.skip(`“${failed}” failed`);
    try {
      await step();
    } catch (error) {
      failed = name;
      throw error;
    }
  });
}

/** A person with a browser of their own. */
async function visitor(options = {}) {
  const context = await browser.newContext({ baseURL: server.address, locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('dialog', (dialog) => { complaints.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource|net::ERR/.test(message.text())) complaints.push(message.text());
  });
  return page;
}

async function logIn(page, token) {
  await page.goto('/');
  await page.getByLabel('Token').fill(token);
  await page.keyboard.press('Enter');
}

const heading = (page, name) => page.getByRole('heading', { name, level: 1 }).waitFor();
const button = (page, name) => page.getByRole('button', { name });

// Where a test failed, the server may have said why.
process.on('exit', (code) => { if (code && server?.said) console.error(server.said.slice(-8000)); });

describe('the dashboard', { concurrency: 1, timeout: 600_000 }, () => {
  let engineer;
  let job;
  let verdict;

  before(async () => {
    server = await Server.start();
    await server.worker();
    await server.factory(SITE, TITLE, 48, 24);
    await server.api('POST', 'sites', { name: 'kyoto' });
    browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] });
  });

  after(async () => {
    await browser?.close();
    await server?.end();
  });

  test('a wrong token is answered by a sentence and kept nowhere', async () => {
    const page = await visitor();
    await logIn(page, 'not-a-token');
    await page.getByRole('alert').getByText('does not know this token').waitFor();
    assert.equal(await page.evaluate(() => sessionStorage.length + localStorage.length + document.cookie.length), 0);
    await page.context().close();
  });

  test('the token of a device is no key to the dashboard', async () => {
    const page = await visitor();
    await logIn(page, await server.tokenOf('worker'));
    await page.getByRole('alert').getByText('one of a person').waitFor();
    await page.context().close();
  });

  test('an engineer logs in and sees the sites', async () => {
    engineer = await visitor();
    await logIn(engineer, await server.tokenOf('admin'));
    await heading(engineer, 'Sites');
    const row = engineer.getByRole('row').filter({ hasText: SITE });
    assert.match(await row.innerText(), /48/);
    assert.ok(await row.getByText(TITLE).isVisible(), 'a title is text, whatever is in it');
    assert.equal(await engineer.locator('main img').count(), 0);
    await engineer.getByText('Live', { exact: true }).waitFor();
    assert.ok(!engineer.url().includes('token'));
  });

  test('pictures come with the token, and a condition narrows them down', async () => {
    await engineer.goto(`/#/sites/${SITE}/images`);
    await until(() => engineer.locator('katagami-picture img').evaluateAll((all) => all.length > 3 && all.every((image) => image.complete && image.naturalWidth > 0)), 'pictures are shown');
    await engineer.locator('.picture').first().click();
    const large = engineer.getByRole('dialog');
    await until(() => large.locator('img').evaluate((image) => image.complete && image.naturalWidth > 0), 'the large picture is shown');
    await engineer.keyboard.press('Escape');
    await large.waitFor({ state: 'detached' });
    assert.ok(await engineer.locator('katagami-picture img').count() > 3, 'what was shown stays shown');
    await engineer.getByLabel('Metadata').fill('line=nowhere');
    await button(engineer, 'Filter').click();
    await engineer.getByText('No image matches').waitFor();
    await engineer.getByRole('link', { name: /Remove the condition/ }).click();
    await engineer.locator('katagami-picture').first().waitFor();
  });

  test('what is wrong with images is shown and one button leaves it out', async () => {
    await server.submits(SITE, 'black.pgm', Buffer.concat([Buffer.from('P5 64 64 255\n'), Buffer.alloc(64 * 64)]));
    await engineer.goto(`/#/sites/${SITE}`);
    const health = engineer.getByRole('region', { name: 'Data health' });
    await health.getByRole('row').filter({ hasText: 'dark' }).getByText('Nearly black').waitFor();
    await health.getByRole('button', { name: 'Make a snapshot without them' }).click();
    await health.getByText(/The snapshot has \d+ images; /).waitFor();
    const [snapshot] = (await server.api('GET', `sites/${SITE}/snapshots`)).body.items;
    assert.ok(snapshot.exclude.includes('dark') && snapshot.excluded >= 1);
    assert.equal((await server.api('GET', `sites/${SITE}`)).body.images, 49, 'nothing was deleted');
    await engineer.goto(`/#/sites/${SITE}/images`);
    await engineer.locator('katagami-picture').first().waitFor();
  });

  test('an engineer starts a training and watches it finish', async () => {
    await engineer.getByRole('link', { name: /^Jobs/ }).click();
    await engineer.getByText('Start a training').click();
    await engineer.getByLabel('Budget').fill('6');
    await button(engineer, 'Start training').click();
    await engineer.getByRole('heading', { name: /^Job / }).waitFor();
    job = new URL(engineer.url()).hash.split('/').pop();
    await engineer.getByRole('region', { name: 'Progress' }).waitFor();
    // Nothing here loads the page again: what changes came by the events.
    await engineer.evaluate(() => { window.sameDocument = true; });
    await engineer.getByText(/\d+ of 6/).waitFor({ timeout: TRAINING * 1000 });
    await engineer.locator('[data-outcome]').waitFor({ timeout: TRAINING * 1000 });
    assert.ok(await engineer.evaluate(() => window.sameDocument));
    assert.equal(await engineer.locator('[data-outcome]').getAttribute('data-outcome'), 'mask');
    assert.match(await engineer.locator('.chart figcaption').innerText(), /at step 6/);
    assert.match(await engineer.getByRole('region', { name: 'Attempts' }).innerText(), /published/);
    await engineer.getByRole('link', { name: 'Read its report' }).click();
  });

  test('a mask shows its evidence: the base, the mask, a random mask, the verdict', async () => {
    await heading(engineer, 'Mask 1');
    const { body: mask } = await server.api('GET', `sites/${SITE}/masks/1`);
    verdict = mask.verdict;
    const notice = engineer.locator('[data-verdict]');
    assert.equal(await notice.getAttribute('data-verdict'), verdict);
    assert.equal(await notice.getByRole('listitem').count(), mask.reasons.length);
    const shown = engineer.locator('[data-section="test"]');
    assert.match(await shown.innerText(), /Linear probe[\s\S]*a random mask, as dense/);
    assert.match(await shown.locator('svg.interval').first().getAttribute('aria-label'), /95 % interval from .* to .* points/);
    await engineer.getByText(/Weights dropped by layer/).click();
    assert.ok(await engineer.locator('table.density tbody tr').count() > 10);
  });

  test('a mask is released, and the release says when it overrides the gate', async () => {
    await engineer.getByRole('link', { name: 'Release …' }).click();
    const form = engineer.getByRole('form', { name: 'Move channel stable' });
    await form.getByText('instead of the plain base').waitFor();
    if (verdict !== 'passed') {
      await form.getByText('recorded as an override').waitFor();
      await form.getByLabel('Reason').fill('a trial on line a');
    }
    if (verdict === 'refused') await form.getByLabel(/^ ?Force/).check();
    await form.getByRole('button', { name: 'Release mask 1' }).click();
    const channel = engineer.locator('[data-channel="stable"]');
    await channel.locator('.big').getByText('mask 1').waitFor();
    assert.equal((await server.api('GET', `sites/${SITE}/channels/stable`)).body.mask, 1);
    assert.equal((await server.api('GET', `sites/${SITE}/channels/stable/mask`)).status, 200);
    assert.equal(await channel.getByText('override', { exact: true }).count(), verdict === 'passed' ? 0 : 1);
  });

  test('a release is taken back, and both moves stay in the history', async () => {
    const channel = engineer.locator('[data-channel="stable"]');
    await button(channel, 'Back to the plain base').click();
    await button(channel, 'Back to the plain base').click();
    await channel.locator('.big').getByText('the plain base').waitFor();
    assert.equal((await server.api('GET', `sites/${SITE}/channels/stable/mask`)).status, 404);
    await until(async () => await channel.getByRole('row').count() === 3, 'two moves under the heading');
  });

  test('a move that somebody made meanwhile is never undone unseen', async () => {
    const channel = engineer.locator('[data-channel="stable"]');
    await button(channel, 'Release …').click();
    const change = { mask: 1, reason: 'from elsewhere', force: verdict === 'refused' };
    assert.equal((await server.api('PUT', `sites/${SITE}/channels/stable`, change, { headers: { 'If-Match': '"2"' } })).status, 200);
    await channel.getByText('Somebody has moved the channel meanwhile').waitFor();
    assert.ok(await button(channel, 'Release mask 1').isDisabled());
    await button(channel, 'Leave it').click();
    await channel.getByText('from elsewhere').waitFor();
  });

  test('a device is enrolled: its token is shown once, its contact is seen at once', async () => {
    await engineer.getByRole('link', { name: /^Devices/ }).click();
    await engineer.getByLabel('Name').fill('line-a-camera-3');
    await button(engineer, 'Enrol').click();
    const token = await engineer.locator('[data-enrolled] .token').innerText();
    const row = engineer.getByRole('row').filter({ hasText: 'line-a-camera-3' });
    await row.getByText('never heard of').waitFor();
    const status = { mask: 1, digest: null, weights: null, channel: 'stable', agent: '0.1.0' };
    assert.equal((await server.api('PUT', 'device/status', status, { token })).status, 204);
    await row.getByText('in touch').waitFor();
    await row.getByRole('link', { name: 'mask 1' }).waitFor();
    await engineer.reload();
    await engineer.getByRole('row').filter({ hasText: 'line-a-camera-3' }).waitFor();
    assert.ok(!(await engineer.content()).includes(token), 'a token is shown once');
  });

  test('a site says what its masks are judged by', async () => {
    await engineer.goto(`/#/sites/${SITE}/settings`);
    const form = engineer.getByRole('form', { name: 'Settings' });
    await form.getByRole('combobox', { name: /^Judged by/ }).selectOption('recall-at-false-alarm');
    await form.getByRole('textbox', { name: /^Class/ }).fill('functional');
    await form.getByRole('spinbutton', { name: /^False alarms/ }).fill('0.1');
    await form.getByText('What the gate asks for').click();
    await form.getByRole('spinbutton', { name: /^Margin/ }).fill('0.02');
    await button(form, 'Save').click();
    await form.getByText('Saved.').waitFor();
    const { body: site } = await server.api('GET', `sites/${SITE}`);
    assert.deepEqual(site.kpi, { name: 'recall-at-false-alarm', normal: 'functional', rate: 0.1 });
    assert.deepEqual([site.gate.margin, site.gate['least-per-class'], site.title], [0.02, 10, TITLE]);
    await form.getByText('What the network sees of a picture').click();
    const sees = async (width, columns) => {
      await form.getByRole('spinbutton', { name: /^Width/ }).fill(width);
      await form.getByRole('spinbutton', { name: /^Tiles side by side/ }).fill(columns);
      await button(form, 'Save').click();
      await form.getByText('Saved.').waitFor();
      return (await server.api('GET', `sites/${SITE}`)).body.view;
    };
    assert.deepEqual(await sees('33.33', '2'), {
      region: { left: 0, top: 0, width: 0.3333, height: 1 }, tiles: { columns: 2, rows: 1, overlap: 0 },
    });
    assert.deepEqual((await sees('100', '1')).region, { left: 0, top: 0, width: 1, height: 1 });
    await form.getByRole('combobox', { name: /^Judged by/ }).selectOption('cost');
    await form.getByRole('textbox', { name: /^Costs/ }).fill('{"functional": ');
    await button(form, 'Save').click();
    await form.getByText('The costs are no JSON').waitFor();
    await form.getByRole('combobox', { name: /^Judged by/ }).selectOption('probe');
    await button(form, 'Save').click();
    await form.getByText('Saved.').waitFor();
    assert.equal((await server.api('GET', `sites/${SITE}`)).body.kpi, 'probe');
  });

  test('the workers are listed with what they compute on', async () => {
    await engineer.getByRole('link', { name: 'Workers' }).click();
    await heading(engineer, 'Workers');
    const [worker] = (await server.api('GET', 'workers')).body.items;
    const row = engineer.getByRole('row').filter({ hasText: worker.name });
    await row.getByText('waits').waitFor();
    assert.ok((await row.innerText()).includes(worker.device));
  });

  test('a token is made, shown once, and revoked for good', async () => {
    await engineer.getByRole('link', { name: 'Tokens' }).click();
    await heading(engineer, 'Tokens');
    await engineer.getByText('Make a token').click();
    const form = engineer.getByRole('form', { name: 'Make a token' });
    await form.getByRole('textbox', { name: /^Name/ }).fill('Aiko, line A');
    await form.getByRole('combobox', { name: /^Role/ }).selectOption('site');
    await form.getByRole('combobox', { name: /^Site/ }).selectOption('kyoto');
    await button(form, 'Make it').click();
    const token = await engineer.locator('[data-issued] .token').innerText();
    const { body: aiko } = await server.api('GET', 'whoami', undefined, { token });
    assert.deepEqual([aiko.name, aiko.role, aiko.site], ['Aiko, line A', 'site', 'kyoto']);
    await button(engineer, 'I have it').click();
    assert.ok(!(await engineer.content()).includes(token), 'a token is shown once');
    const row = engineer.getByRole('row').filter({ hasText: 'Aiko, line A' });
    await button(row, /^Revoke/).click();
    await button(row, 'Keep it').click();
    await button(row, /^Revoke/).click();
    await button(row, 'Revoke it for good').click();
    await row.getByText('revoked', { exact: true }).waitFor();
    assert.equal(await row.getByRole('button').count(), 0);
    assert.equal((await server.api('GET', 'whoami', undefined, { token })).status, 401);
  });

  test('the audit trail is read page by page, and of one site', async () => {
    for (let n = 1; n <= 55; n += 1) await server.api('PATCH', 'sites/kyoto', { title: `Kyōto ${n}` });
    await engineer.getByRole('link', { name: 'Audit' }).click();
    await heading(engineer, 'Audit');
    await engineer.getByRole('combobox', { name: /^Site/ }).selectOption('kyoto');
    const rows = engineer.locator('main tbody tr');
    await until(async () => await rows.count() === 50 && /Kyōto 55/.test(await rows.first().textContent()), 'the newest changes of kyoto');
    await engineer.getByRole('link', { name: 'Older' }).click();
    await until(async () => /Kyōto 5"/.test(await rows.first().textContent()), 'those before them');
    const told = await rows.allTextContents();
    assert.ok(told.every((text) => text.includes('kyoto')) && told.some((text) => text.includes('site created')), told.join('\n'));
    await engineer.getByRole('link', { name: 'The newest' }).click();
    await until(async () => await rows.count() === 50, 'the first page again');
  });

  test('an auditor sees everything and is offered no change', async () => {
    const auditor = await visitor();
    await logIn(auditor, await server.tokenOf('auditor'));
    await heading(auditor, 'Sites');
    const changes = /Release|Back to|Start|Cancel|Enrol|Delete|Add a channel|Add …|Save|Make|Revoke/;
    for (const where of [`sites/${SITE}`, `sites/${SITE}/images`, `sites/${SITE}/jobs`, `sites/${SITE}/masks/1`, `sites/${SITE}/channels`, `sites/${SITE}/devices`, `sites/${SITE}/settings`, `jobs/${job}`, 'workers', 'audit']) {
      await auditor.goto(`/#/${where}`);
      await auditor.locator('[data-state="ready"] h1').waitFor();
      await until(() => auditor.title().then((title) => !title.startsWith('Sites')), 'the next page is open');
      const offered = await auditor.locator('main button, main summary, main a.button').allInnerTexts();
      assert.deepEqual(offered.filter((text) => changes.test(text)), [], where);
    }
    assert.equal(await auditor.getByRole('link', { name: 'Tokens' }).count(), 0);
    await auditor.context().close();
  });

  test('a site sees itself, and another site is not there', async () => {
    const page = await visitor({ colorScheme: 'dark', viewport: { width: 390, height: 800 } });
    await logIn(page, await server.tokenOf('site', 'kyoto'));
    await heading(page, 'kyoto');
    // A request's identifier is of chance and may hold any two digits: only the sentence is compared.
    const toldOf = async (name) => {
      await page.goto(`/#/sites/${name}`);
      await until(() => page.title().then((title) => title.startsWith(name)), `the page of ${name} is open`);
      const sentence = await page.getByRole('alert').locator('p').first().innerText();
      assert.ok(!(await page.content()).includes('Söhne'), 'nothing of the other site is told');
      return sentence;
    };
    assert.equal(await toldOf(SITE), await toldOf('nowhere'), 'another site is told of as one that does not exist');
    await page.goto('/#/sites/kyoto/channels');
    await heading(page, 'kyoto');
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'nothing sticks out on a telephone');
    await page.context().close();
  });

  test('events are read however their bytes are cut', async () => {
    const read = await engineer.evaluate(async () => {
      const scripts = document.querySelector('script[type=module]').src;
      const { messages, backoff } = await import(new URL('events.js', scripts).href);
      const text = ': hello\r\n\r\nid: 7\r\nevent: a\r\ndata: {"x":\r\ndata: "型紙"}\r\n\r\nid:8\ndata:no space\n\nid: 9\n\ndata: cut off';
      const bytes = new TextEncoder().encode(text);
      const all = [];
      for (let size = 1; size <= bytes.length; size += 1) {
        const body = new ReadableStream({
          start(controller) {
            for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
            controller.close();
          },
        });
        const found = [];
        for await (const message of messages(body)) found.push(message);
        all.push(JSON.stringify(found));
      }
      return { different: [...new Set(all)], waits: [0, 1, 2, 3, 9].map((failures) => backoff(failures, 1)) };
    });
    assert.deepEqual(read.different, [JSON.stringify([{ id: '7', event: 'a', data: '{"x":\n"型紙"}' }, { id: '8', data: 'no space' }])]);
    assert.deepEqual(read.waits, [1000, 1000, 2000, 4000, 30_000]);
  });

  test('a page comes back by itself after the server did, and misses nothing', async () => {
    await engineer.goto(`/#/sites/${SITE}/images`);
    await engineer.getByText('Live', { exact: true }).waitFor();
    await server.down();
    await engineer.getByText('Reconnecting …').waitFor();
    await server.up();
    await server.api('PATCH', `sites/${SITE}`, { title: 'Osaka, second hall' });
    await engineer.getByText('Live', { exact: true }).waitFor({ timeout: 60_000 });
    await heading(engineer, /Osaka, second hall/);
  });

  test('logging out forgets the token', async () => {
    await button(engineer, 'Log out').click();
    await heading(engineer, 'Log in');
    assert.equal(await engineer.evaluate(() => sessionStorage.length), 0);
    await engineer.reload();
    await heading(engineer, 'Log in');
  });

  test('no script failed and the security policy had nothing to block', () => {
    assert.deepEqual(complaints, []);
  });
});
