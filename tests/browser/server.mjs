// The real `katagami serve` on a folder of its own, with a factory that has real photographs.

import { spawn, execFile } from 'node:child_process';
import { copyFile, mkdtemp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);
const katagami = path.join(process.env.KATAGAMI_BIN, 'katagami');
const recipes = path.join(path.dirname(fileURLToPath(import.meta.url)), 'recipes');
const photographs = process.env.KATAGAMI_DEMO_DATA;

/** The server's process, its folder, its address, and the admin's token. */
export class Server {
  static async start() {
    const server = new Server();
    server.folder = await mkdtemp(path.join(tmpdir(), 'katagami-browser-'));
    server.port = await freePort();
    server.address = `http://127.0.0.1:${server.port}`;
    server.environment = { ...process.env, XDG_DATA_HOME: server.folder, NO_PROXY: '127.0.0.1' };
    await run(katagami, ['base', 'import', '--arch', 'efficientnet_lite0', '--weights', path.join(photographs, 'efficientnet-lite0.pth'), '--size', '96'], { env: server.environment });
    await server.up();
    return server;
  }

  /** Starts the process and waits until it answers. */
  async up() {
    this.said = '';
    this.process = spawn(katagami, ['serve', '--listen', `127.0.0.1:${this.port}`, '--workers', '0'], { env: this.environment, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.process.stdout, this.process.stderr]) stream.on('data', (text) => { this.said += text; });
    const ended = new Promise((_, reject) => this.process.once('exit', (code) => reject(new Error(`katagami serve ended with ${code}:\n${this.said}`))));
    ended.catch(() => {});
    await Promise.race([ended, until(() => fetch(`${this.address}/readyz`).then((answer) => answer.ok, () => false), 'the server answers')]);
    this.token = (await readFile(path.join(this.folder, 'katagami/admin-token'), 'utf8')).trim();
  }

  async down() {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    if (this.process.exitCode !== null) return;
    this.process.kill('SIGTERM');
    await ended;
  }

  /** Starts a worker whose default recipe is the tests' own, which is quick and drops many weights. */
  async worker() {
    const args = ['run', '--server', this.address, '--token-stdin', '--recipes', recipes, '--cache', path.join(this.folder, 'worker'), '--device', 'cpu'];
    // It ends when its standard input is closed, so also when this process dies.
    this.trainer = spawn(path.join(process.env.KATAGAMI_BIN, 'katagami-worker'), args, { env: this.environment, stdio: ['pipe', 'ignore', 'pipe'] });
    this.trainer.stderr.on('data', (text) => { this.said += text; });
    this.trainer.stdin.write(`${await this.tokenOf('worker')}\n`);
  }

  async end() {
    if (this.trainer?.exitCode === null) {
      const ended = new Promise((resolve) => this.trainer.once('exit', resolve));
      this.trainer.stdin.end();
      await ended;
    }
    await this.down();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs a command for people. */
  async katagami(...args) {
    const { stdout } = await run(katagami, [...args, '--server', this.address, '--token', this.token], { env: this.environment, maxBuffer: 1 << 26 });
    return stdout;
  }

  /** Submits one picture. */
  async submits(site, name, bytes) {
    const file = path.join(this.folder, name);
    await writeFile(file, bytes);
    await this.katagami('images', 'submit', site, file);
  }

  /** Asks the API; answers its JSON, or its status where it has none. */
  async api(method, where, body, { token = this.token, headers = {} } = {}) {
    const answer = await fetch(`${this.address}/v1/${where}`, {
      method,
      headers: { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }), ...headers },
      body: body && JSON.stringify(body),
    });
    const isJson = /json/.test(answer.headers.get('content-type') ?? '');
    return { status: answer.status, body: isJson ? await answer.json() : await answer.arrayBuffer() };
  }

  /** Makes a token of a role; answers its secret. */
  async tokenOf(role, site) {
    const { status, body } = await this.api('POST', 'tokens', { name: `${role} of the test`, role, site });
    if (status !== 201) throw new Error(JSON.stringify(body));
    return body.secret;
  }

  /** A site with photographs of polycrystalline cells, and a labelled set of others. */
  async factory(site, title, images, labelled) {
    const cells = (await readFile(path.join(photographs, 'elpv/labels.csv'), 'utf8')).split('\n')
      .map((line) => line.trim().split(/\s+/)).filter((cell) => cell[2] === 'poly');
    const folder = path.join(this.folder, `submitted-${site}`);
    const put = async (into, [file]) => {
      await mkdir(path.join(folder, into), { recursive: true });
      await copyFile(path.join(photographs, 'elpv', file), path.join(folder, into, path.basename(file)));
    };
    for (const cell of cells.slice(0, images)) await put('images', cell);
    for (const [defective, kind] of [[false, 'functional'], [true, 'defective']]) {
      const judged = cells.slice(images).filter((cell) => (Number(cell[1]) >= 0.5) === defective).slice(0, 2 * labelled);
      for (const [index, cell] of judged.entries()) await put(`labelled/${index % 2 ? 'test' : 'validation'}/${kind}`, cell);
    }
    await this.api('POST', 'sites', { name: site, title });
    await this.katagami('images', 'submit', site, path.join(folder, 'images'));
    await this.katagami('validation', 'set', site, path.join(folder, 'labelled'));
  }
}

/** Waits until `holds` answers something true; says what it waited for where it never does. */
export async function until(holds, what, seconds = 60) {
  const last = performance.now() + seconds * 1000;
  for (;;) {
    const answer = await holds();
    if (answer) return answer;
    if (performance.now() > last) throw new Error(`waited in vain for: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}
