// How far a job is.

import { count, percent } from "../format.ts";
import { span } from "../time.ts";
import type { Job } from "../types.ts";
import { Badge } from "./badge.tsx";
import { Meter } from "./panel.tsx";

export function JobProgress({ job }: { job: Job }) {
  const progress = job.progress;
  return (
    <div class="stack tight">
      <div class="row between">
        <span class="row"><Badge state={job.state} /><a href="/jobs">Job {job.id}</a></span>
        <span class="quiet digits">{progressWords(job)}</span>
      </div>
      {progress && job.state === "running" ? <Meter value={progress.done} max={progress.total} label={`Progress of job ${job.id}`} /> : null}
      {job.message ? <p class={job.state === "failed" ? "bad-text" : undefined}>{job.message}</p> : null}
    </div>
  );
}

/** `3 of 12, 20 s left`, or how many rows came of it. A backfill counts the seconds that it has covered, which say less than their share. */
export function progressWords(job: Job): string {
  if (job.progress && (job.state === "running" || job.state === "queued")) {
    const { done, total, eta_seconds } = job.progress;
    const far = job.kind === "backfill" ? percent(total ? (100 * done) / total : 0, 0) : `${count(done)} of ${count(total)}`;
    return `${far}${eta_seconds === null ? "" : `, ${span(eta_seconds * 1000)} left`}`;
  }
  // The message of a job that has ended tells its rows by itself.
  return job.rows === null || job.message ? "" : `${count(job.rows)} rows`;
}
