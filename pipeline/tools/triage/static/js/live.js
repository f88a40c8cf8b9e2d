// What changes, as it changes: one stream of events, opened again by itself, with a state that can be seen.

const RETRY_MS = [500, 1000, 2000, 5000, 10000];

export function live({ onevent, onstate, onback, address = "api/v1/events" }) {
  let source = null;
  let timer = null;
  let failures = 0;
  let wasAway = false;
  let closed = false;

  function open() {
    source?.close();
    onstate(failures ? "away" : "connecting");
    source = new EventSource(address);
    source.onopen = () => {
      failures = 0;
      onstate("live");
      if (wasAway) onback();
      wasAway = false;
    };
    source.onerror = () => {
      if (closed) return;
      wasAway = true;
      onstate("away");
      // The browser opens it again unless the answer was no stream: then it is for us.
      if (source.readyState !== EventSource.CLOSED) return;
      clearTimeout(timer);
      timer = setTimeout(open, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
    };
    for (const name of ["incident", "verdict", "sensors", "reload"]) {
      source.addEventListener(name, (event) => {
        let data = null;
        try {
          data = JSON.parse(event.data);
        } catch {
          return;
        }
        onevent(name, data);
      });
    }
  }

  open();
  return {
    close() {
      closed = true;
      clearTimeout(timer);
      source?.close();
    },
  };
}
