/**
 * A network of queues: stations that serve one job at a time, first come first served, on machines with so many cores. A thread of a process is
 * a station, so two threads on one core take turns, and a single thread never uses two. A job may end with a rest, in which the thread waits for
 * something (a disk) and takes no other job, but leaves its core to others.
 */
import { EventQueue } from './events.ts';

const DONE = 0;
const TIMER = 1;

/** Seconds that a job takes, and that it rests afterwards. */
export interface Work {
  readonly seconds: number;
  readonly rest: number;
}

interface Station {
  readonly machine: number;
  /** Jobs that wait, and their seconds or what tells their work when they begin, from `head` on. */
  jobs: number[];
  works: (number | (() => Work))[];
  head: number;
  isRunning: boolean;
  isReady: boolean;
  /** Of the job in service: seconds that it will rest; and whether it does. */
  rest: number;
  isResting: boolean;
  /** Seconds it has served. */
  busy: number;
}

interface Machine {
  readonly cores: number;
  running: number;
  /** Stations with work that wait for a core, in their order. */
  ready: number[];
}

export interface Handler {
  /** A job has been served at a station. */
  served(job: number, station: number): void;
  /** A timer has come. */
  timer(a: number, b: number): void;
}

export class Network {
  readonly events = new EventQueue();
  readonly #machines: readonly Machine[];
  readonly #stations: readonly Station[];

  /** `cores` of each machine, `stations`: the machine of each. */
  constructor(cores: readonly number[], stations: readonly number[]) {
    this.#machines = cores.map((count) => ({ cores: count, running: 0, ready: [] }));
    this.#stations = stations.map((machine) => ({
      machine,
      jobs: [],
      works: [],
      head: 0,
      isRunning: false,
      isReady: false,
      rest: 0,
      isResting: false,
      busy: 0,
    }));
  }

  get now(): number {
    return this.events.time;
  }
  /** Seconds that a station has served so far. */
  busy(station: number): number {
    return this.#stations[station].busy;
  }
  /** Jobs at a station, the one in service not counted. */
  waiting(station: number): number {
    const { jobs, head } = this.#stations[station];
    return jobs.length - head;
  }

  /** A job comes to a station, and will take so many seconds there; or what is told when its turn comes. */
  serve(station: number, job: number, work: number | (() => Work)): void {
    const one = this.#stations[station];
    one.jobs.push(job);
    one.works.push(work);
    this.#offer(station);
  }
  after(seconds: number, a: number, b = 0): void {
    this.events.add(this.now + seconds, TIMER, a, b);
  }

  /** Runs until a time, or until nothing is left to happen. */
  run(until: number, handler: Handler): void {
    const { events } = this;
    while (events.next()) {
      if (events.kind === TIMER) handler.timer(events.a, events.b);
      else {
        const { a: job, b: station } = events;
        if (this.#mustRest(station, job)) continue;
        this.#free(station);
        handler.served(job, station);
      }
      if (events.time >= until) return;
    }
  }

  /** Has a station start, or wait for a core, if it has work and does neither. */
  #offer(index: number): void {
    const station = this.#stations[index];
    if (station.isRunning || station.isReady || station.head === station.jobs.length) return;
    const machine = this.#machines[station.machine];
    if (machine.running < machine.cores && machine.ready.length === 0) this.#start(index);
    else {
      station.isReady = true;
      machine.ready.push(index);
    }
  }

  #start(index: number): void {
    const station = this.#stations[index];
    this.#machines[station.machine].running += 1;
    station.isRunning = true;
    station.isReady = false;
    const job = station.jobs[station.head];
    const work = station.works[station.head];
    const { seconds, rest } = typeof work === 'number' ? { seconds: work, rest: 0 } : work();
    station.rest = rest;
    station.head += 1;
    if (station.head === station.jobs.length) {
      station.jobs = [];
      station.works = [];
      station.head = 0;
    }
    station.busy += seconds;
    this.events.add(this.now + seconds, DONE, job, index);
  }

  /** Has a job that is not done with its rest begin it. */
  #mustRest(index: number, job: number): boolean {
    const station = this.#stations[index];
    if (station.rest === 0) return false;
    this.events.add(this.now + station.rest, DONE, job, index);
    station.rest = 0;
    station.isResting = true;
    this.#release(station.machine);
    return true;
  }

  #free(index: number): void {
    const station = this.#stations[index];
    station.isRunning = false;
    const machine = this.#machines[station.machine];
    if (!station.isResting) machine.running -= 1;
    station.isResting = false;
    // Behind those that wait already, so that no thread keeps a core from another.
    this.#offer(index);
    this.#fill(machine);
  }
  /** Gives a core back. */
  #release(index: number): void {
    const machine = this.#machines[index];
    machine.running -= 1;
    this.#fill(machine);
  }
  #fill(machine: Machine): void {
    while (machine.running < machine.cores && machine.ready.length > 0) this.#start(machine.ready.shift()!);
  }
}
