/* live.js - watches the hub with an EventSource, shows what comes, and sends the form without leaving the page.
 *
 * After a stream that ended, the browser reconnects by itself with Last-Event-ID. After an answer that is no stream (the
 * token was too old: 401; the hub was restarted: 503) it gives up; then this page gets a new token and opens a new
 * EventSource from where it was, with last_event_id.
 */
'use strict';

const MOST_SHOWN = 200;
const LONGEST_WAIT = 30000;
const { hub, topic, tokenSeconds } = document.body.dataset;
const state = document.getElementById('state');
const updates = document.getElementById('updates');
const form = document.getElementById('publish');
const result = document.getElementById('result');

let received = 0;
let cursor = 'earliest'; // a new page begins with what the hub still has
let wait = 1000;

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
  cursor = event.lastEventId;
  received += 1;
  document.getElementById('count').textContent = received;
  document.getElementById('empty').hidden = true;
}

/* The answer to this page sets the cookie with a new token. */
async function renewToken() {
  await fetch('./', { method: 'HEAD', cache: 'no-store' });
}

function connect() {
  const query = new URLSearchParams({ match: topic, last_event_id: cursor });
  const source = new EventSource(`${hub}?${query}`);

  source.onopen = () => {
    wait = 1000;
    setState('open');
  };
  source.onmessage = show;
  source.addEventListener('private', show);
  source.onerror = () => {
    setState('reconnecting');
    if (source.readyState === EventSource.CLOSED) {
      setTimeout(() => renewToken().catch(() => {}).finally(connect), wait * (0.75 + Math.random() / 2));
      wait = Math.min(wait * 2, LONGEST_WAIT);
    }
  };
}

async function publish() {
  const response = await fetch(form.action, {
    method: 'POST',
    headers: { Accept: 'application/json' },
    body: new URLSearchParams(new FormData(form)),
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

form.addEventListener('submit', async (submission) => {
  submission.preventDefault();
  if (form.ariaBusy === 'true') {
    return;
  }
  form.ariaBusy = 'true'; // a disabled button would lose the focus
  try {
    const id = await publish();
    showResult('Published as ', element('code', '', id));
    document.getElementById('message').value = '';
  } catch (error) {
    const reason = error instanceof TypeError ? 'The site cannot be reached.' : error.message;
    showResult(element('span', 'wrong', reason));
  } finally {
    form.ariaBusy = 'false';
  }
});

document.getElementById('message').addEventListener('keydown', (key) => {
  if (key.key === 'Enter' && (key.ctrlKey || key.metaKey)) {
    form.requestSubmit();
  }
});

setInterval(() => renewToken().catch(() => {}), (tokenSeconds * 1000) / 2);
connect();
