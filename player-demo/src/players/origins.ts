// Where each of two players beside each other takes its media from.
//
// A browser opens six connections to a host. A player of low latency keeps two to four of them busy
// with answers that are waited for or grow, so two players on one host would wait for each other.
// Over HTTPS all requests share one HTTP/2 connection; on loopback the machine has two names.

const TWINS: Record<string, string> = { "127.0.0.1": "localhost", localhost: "127.0.0.1" };

export interface Origins {
  /** For the second player; empty for the page's own. */
  readonly second: string;
  /** Whether two players may have to wait for each other's connections. */
  readonly crowded: boolean;
}

export function origins({ protocol, hostname, port }: Pick<Location, "protocol" | "hostname" | "port">): Origins {
  if (protocol === "https:") {
    return { second: "", crowded: false };
  }
  const twin = TWINS[hostname];
  if (!twin) {
    return { second: "", crowded: true };
  }
  return { second: `${protocol}//${twin}${port ? `:${port}` : ""}`, crowded: false };
}
