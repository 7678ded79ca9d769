<?php
/* index.php - the page to look at. It gives the visitor a token for private updates, in a cookie that only the hub gets and
 * no script can read; everything live is in live.js.
 */
declare(strict_types=1);

require __DIR__ . '/../mercure.php';

const TOPIC = 'https://demo.example/news';
const TILES = 12;
const TOKEN_SECONDS = 3600;

$url = getenv('MERCURE_URL');
$path = parse_url($url, PHP_URL_PATH);
$hub = new Mercure($url, getenv('MERCURE_ISSUER'), getenv('MERCURE_SECRET'), 'demo-visitor');

/* Without an end of its own: an old token is answered 401, and then the page comes here for a new one. */
setcookie('demo_access_token', $hub->token(subscribe: [TOPIC], seconds: TOKEN_SECONDS), [
    'path' => $path,
    'httponly' => true,
    'samesite' => 'Strict',
]);
header('Cache-Control: no-store');

/* The lines of publish.php that publish, as they are. */
function publishing_lines(): string
{
    $source = file_get_contents(__DIR__ . '/publish.php');
    preg_match('~// --- shown on the page ---\n(.*?)\n *// --- end ---~s', $source, $found);

    return preg_replace('/^    /m', '', $found[1] ?? '');
}

$published = $_GET['published'] ?? null;
$published = is_string($published) && preg_match('/^urn:uuid:[0-9a-f-]{36}$/', $published) === 1 ? $published : null;
$e = fn (string $text): string => htmlspecialchars($text);
?>
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Live updates with Mercure</title>
<link rel="icon" href="icon.svg">
<link rel="stylesheet" href="style.css">
<script src="live.js" defer></script>
</head>
<body data-hub="<?= $e($path) ?>" data-topic="<?= $e(TOPIC) ?>" data-tiles="https://demo.example/tiles/" data-token-seconds="<?= TOKEN_SECONDS ?>">
<header>
<h1>Live updates with Mercure</h1>
<p id="state" class="state" role="status" data-state="connecting">connecting</p>
</header>

<main>
<section class="card compose" aria-labelledby="compose-title">
<h2 id="compose-title">Publish a message</h2>
<form id="publish" method="post" action="publish.php">
<label for="message">Message</label>
<textarea id="message" name="message" rows="3" required placeholder="Type something, then look at every open window"></textarea>
<label class="check"><input type="checkbox" id="private" name="private" value="on">
<span>Private message <small>Only readers with a token for it get it; this page has one.</small></span></label>
<button type="submit">Publish</button>
<p id="result" role="status"><?= $published !== null ? 'Published as <code>' . $e($published) . '</code>' : '' ?></p>
</form>
</section>

<section class="card feed" aria-labelledby="feed-title">
<h2 id="feed-title">Updates <span class="count"><span id="count">0</span> received</span></h2>
<p class="topic">Topic <code><?= $e(TOPIC) ?></code></p>
<noscript><p class="wrong">Updates appear here by themselves when JavaScript is on. Publishing works without it.</p></noscript>
<p id="empty" class="empty">Nothing yet. Publish a message, here or in another window.</p>
<ol id="updates" role="log" aria-live="polite" aria-labelledby="feed-title" tabindex="0"></ol>
</section>

<section class="card tiles" aria-labelledby="tiles-title">
<h2 id="tiles-title">Twelve live topics <span class="count"><span id="streams">0</span> open</span></h2>
<p id="protocol" class="topic">Each button publishes on a topic of its own, and counts what comes from it.</p>
<form id="tiles" method="post" action="publish.php">
<?php for ($tile = 1; $tile <= TILES; $tile++) { ?>
<button name="tile" value="<?= $tile ?>" data-count="0" aria-label="Topic <?= $tile ?>"><span class="number"><?= $tile ?></span><span class="hits">0</span></button>
<?php } ?>
</form>
<?php if (($_SERVER['HTTPS'] ?? '') !== 'on') { ?>
<p class="other">The same page <a href="<?= $e(getenv('DEMO_HTTPS_URL')) ?>">over HTTP/2</a>: the browser warns of its certificate, which was made
just for this demo.</p>
<?php } ?>
</section>

<section class="card about" aria-labelledby="about-title">
<h2 id="about-title">What happens here</h2>
<p>The form goes to a PHP page, which publishes the message with one HTTP POST to the hub inside this Apache.
The hub stores it and sends it at once to every open <code>EventSource</code>, and after a lost connection the browser gets
what it missed.</p>
<p class="caption">The PHP that publishes</p>
<pre tabindex="0" aria-label="The PHP that publishes"><code><?= $e(publishing_lines()) ?></code></pre>
</section>
</main>
</body>
</html>
