// Waiting that can be called off, and leaves nothing behind on the signal that may do so.

/** Until `start(done)` is done, or an AbortError when `signal` ends; `start` returns how to stop. */
export async function until(start, signal) {
  signal?.throwIfAborted();
  let leave;
  let stop;
  try {
    await new Promise((resolve, reject) => {
      leave = () => reject(signal.reason);
      signal?.addEventListener("abort", leave);
      stop = start(resolve);
    });
  } finally {
    signal?.removeEventListener("abort", leave);
    stop?.();
  }
}

export async function pause(seconds, signal) {
  signal?.throwIfAborted();
  if (seconds <= 0) return;
  await until((done) => {
    const timer = setTimeout(done, seconds * 1000);
    return () => clearTimeout(timer);
  }, signal);
}
