/* live.js - watches the hub, shows what comes, and sends the forms without leaving the page.
 *
 * Over HTTP/2 every topic has an EventSource of its own: all of them share one connection. Over HTTP/1.1 each would take one
 * of the six connections that a browser opens to a host, for all tabs together; there one EventSource watches all topics.
 *
 * After a stream that ended, the browser reconnects by itself with Last-Event-ID. After an answer that is no stream (the
 * token was too old: 401; the hub was restarted: 503) it gives up; then this page gets a new token and opens a new
 * EventSource from where it was, with last_event_id.
 */
'use strict';

const MOST_SHOWN = 200;
const LONGEST_WAIT = 30000;
const { hub, topic, tiles, tokenSeconds } = document.body.dataset;
const TILE_COUNT = document.querySelectorAll('#tiles button').length;
const state = document.getElementById('state');
const updates = document.getElementById('updates');
const form = document.getElementById('publish');
const result = document.getElementById('result');

let received = 0;
let renewing = null;
const streams = [];

function setState(name) {
  if (state.dataset.state !== name) {
    state.dataset.state = name;
    state.textContent = name;
  }
}

function element(name, className, text) {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function show(event) {
  const item = document.createElement('li');
  const head = element('div', 'meta', '');
  const time = element('time', '', new Date().toLocaleTimeString());
  head.append(time);
  if (event.type === 'private') {
    head.append(element('span', 'badge', 'private'));
  }
  head.append(element('code', 'id', event.lastEventId));
  const text = element('p', 'text', event.data);
  if (event.data === '') {
    text.dataset.empty = '';
  }
  item.dataset.id = event.lastEventId;
  item.append(head, text);
  updates.prepend(item);
  while (updates.children.length > MOST_SHOWN) {
    updates.lastElementChild.remove();
  }
  received += 1;
  document.getElementById('count').textContent = received;
  document.getElementById('empty').hidden = true;
}

function showTile(event) {
  const button = document.querySelector(`#tiles button[value="${CSS.escape(event.data)}"]`);
  if (button) {
    button.dataset.count = Number(button.dataset.count) + 1;
    button.querySelector('.hits').textContent = button.dataset.count;
    button.getAnimations().forEach((animation) => animation.cancel());
    button.animate([{ filter: 'brightness(1.6)' }, { filter: 'none' }], 500);
  }
}

/* The answer to this page sets the cookie with a new token. Streams that end together ask for it once. */
function renewToken() {
  renewing ??= fetch('./', { method: 'HEAD', cache: 'no-store' }).catch(() => {}).finally(() => { renewing = null; });
  return renewing;
}

function showStreams() {
  const open = streams.filter((stream) => stream.open).length;
  document.getElementById('streams').textContent = open;
  if (open === streams.length) {
    setState('open');
  } else if (streams.some((stream) => stream.failed)) {
    setState('reconnecting');
  }
}

/* A stream of what is published on the topics of `query`; it comes back whatever happens. */
class Stream {
  constructor(query) {
    this.query = query;
    this.cursor = 'earliest'; // a new page begins with what the hub still has
    this.wait = 1000;
    this.open = this.failed = false;
    streams.push(this);
  }

  connect() {
    const query = new URLSearchParams({ ...this.query, last_event_id: this.cursor });
    const source = new EventSource(`${hub}?${query}`);

    source.onopen = () => {
      this.wait = 1000;
      this.open = true;
      this.failed = false;
      showStreams();
    };
    source.onmessage = (event) => this.take(event, show);
    source.addEventListener('private', (event) => this.take(event, show));
    source.addEventListener('tile', (event) => this.take(event, showTile));
    source.onerror = () => {
      this.open = false;
      this.failed = true;
      showStreams();
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(() => renewToken().then(() => this.connect()), this.wait * (0.75 + Math.random() / 2));
        this.wait = Math.min(this.wait * 2, LONGEST_WAIT);
      }
    };
  }

  take(event, shower) {
    this.cursor = event.lastEventId;
    shower(event);
  }
}

/* What the page came by; '' where the browser does not tell. */
const protocol = performance.getEntriesByType('navigation')[0]?.nextHopProtocol ?? '';
const PROTOCOLS = { h2: 'HTTP/2', h3: 'HTTP/3', 'http/1.1': 'HTTP/1.1', 'http/1.0': 'HTTP/1.0' };

function start() {
  const line = document.getElementById('protocol');
  if (protocol === 'h2' || protocol === 'h3') {
    new Stream({ match: topic });
    for (let tile = 1; tile <= TILE_COUNT; tile += 1) {
      new Stream({ match: tiles + tile });
    }
    line.textContent = `This page came by ${PROTOCOLS[protocol]}: ${streams.length} live streams share one connection.`;
  } else {
    new Stream({ match: topic, match_urlpattern: `${tiles}:tile` });
    line.textContent = `This page came by ${PROTOCOLS[protocol] ?? 'HTTP'}: one live stream for all topics, `
      + 'because a browser opens no more than six connections to a host.';
  }
  line.dataset.protocol = protocol;
  streams.forEach((stream) => stream.connect());
}

async function publish(fields) {
  const response = await fetch(form.action, {
    method: 'POST',
    headers: { Accept: 'application/json' },
    body: new URLSearchParams(fields),
  });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(answer.error ?? `The site answered ${response.status}.`);
  }
  return answer.id;
}

function showResult(...parts) {
  result.replaceChildren(...parts);
}

function showFailure(error) {
  const reason = error instanceof TypeError ? 'The site cannot be reached.' : error.message;
  showResult(element('span', 'wrong', reason));
}

form.addEventListener('submit', async (submission) => {
  submission.preventDefault();
  if (form.ariaBusy === 'true') {
    return;
  }
  form.ariaBusy = 'true'; // a disabled button would lose the focus
  try {
    const id = await publish(new FormData(form));
    showResult('Published as ', element('code', '', id));
    document.getElementById('message').value = '';
  } catch (error) {
    showFailure(error);
  } finally {
    form.ariaBusy = 'false';
  }
});

document.getElementById('tiles').addEventListener('submit', (submission) => {
  submission.preventDefault();
  publish({ tile: submission.submitter.value }).catch(showFailure);
});

document.getElementById('message').addEventListener('keydown', (key) => {
  if (key.key === 'Enter' && (key.ctrlKey || key.metaKey)) {
    form.requestSubmit();
  }
});

setInterval(renewToken, (tokenSeconds * 1000) / 2);
start();
