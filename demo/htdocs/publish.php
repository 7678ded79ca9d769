<?php
/* publish.php - takes the page's forms, the message and the twelve topics, and publishes. Answers JSON when asked for it (the page's script does), else a
 * redirect back to the page, so the form works without JavaScript.
 */
declare(strict_types=1);

require __DIR__ . '/../mercure.php';

const TILES = 12;

function wants_json(): bool
{
    return str_contains($_SERVER['HTTP_ACCEPT'] ?? '', 'application/json');
}

/* Say what went wrong, in the form that the client understands, and end. */
function refuse(int $status, string $sentence): never
{
    http_response_code($status);
    if (wants_json()) {
        header('Content-Type: application/json');
        exit(json_encode(['error' => $sentence], JSON_INVALID_UTF8_SUBSTITUTE));
    }
    $sentence = htmlspecialchars($sentence);
    exit(<<<HTML
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Not published</title>
        <link rel="icon" href="icon.svg">
        <link rel="stylesheet" href="style.css">
        <main class="card notice">
        <h1>Not published</h1>
        <p class="wrong" role="alert">$sentence</p>
        <p><a href="./">Back to the page</a></p>
        </main>

        HTML);
}

header('Cache-Control: no-store');
if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
    header('Allow: POST');
    refuse(405, 'Use the form of the page.');
}
/* Another site's page must not publish in its visitors' name. */
$own = (($_SERVER['HTTPS'] ?? '') === 'on' ? 'https://' : 'http://') . $_SERVER['HTTP_HOST'];
if (isset($_SERVER['HTTP_ORIGIN']) && $_SERVER['HTTP_ORIGIN'] !== $own) {
    refuse(403, 'This form takes messages from its own page only.');
}
if (isset($_POST['tile'])) {
    $tile = filter_var($_POST['tile'], FILTER_VALIDATE_INT, ['options' => ['min_range' => 1, 'max_range' => TILES]]);
    if (!is_int($tile)) {
        refuse(400, 'There is no such topic.');
    }
    [$topic, $message, $private, $type] = ["https://demo.example/tiles/$tile", (string) $tile, false, 'tile'];
} elseif (is_string($_POST['message'] ?? null)) {
    $private = isset($_POST['private']);
    [$topic, $message, $type] = ['https://demo.example/news', $_POST['message'], $private ? 'private' : null];
} else {
    refuse(400, 'There is no message, or it is too large.');
}

try {
    // --- shown on the page ---
    $hub = new Mercure(
        getenv('MERCURE_URL'),
        getenv('MERCURE_ISSUER'),
        getenv('MERCURE_SECRET'),
    );

    $id = $hub->publish(
        $topic, // such as https://demo.example/news
        $message,
        private: $private,
        type: $type,
    );
    // --- end ---
} catch (MercureError $error) {
    error_log('publish.php: ' . $error->getMessage());
    if ($error->retryAfter !== null) {
        header('Retry-After: ' . $error->retryAfter);
    }
    refuse(in_array($error->getCode(), [400, 413, 429, 503], true) ? $error->getCode() : 502, $error->getMessage());
}

if (wants_json()) {
    header('Content-Type: application/json');
    exit(json_encode(['id' => $id]));
}
header('Location: ./?published=' . urlencode($id), true, 303);
