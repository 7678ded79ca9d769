<?php
/* The page: it sets the cookie and names the hub, as a controller with Authorization and Discovery does. */
declare(strict_types=1);

require 'site.php';

use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\Mercure\Authorization;
use Symfony\Component\Mercure\Discovery;
use Symfony\Component\Mercure\HubRegistry;
use Symfony\Component\WebLink\HttpHeaderSerializer;

$request = Request::createFromGlobals();
$registry = new HubRegistry(hub());
(new Discovery($registry))->addLink($request);
if (!$request->query->has('anonymous')) {
    (new Authorization($registry))->setCookie($request, [BOOKS]);
}

$response = new Response(<<<'HTML'
<!DOCTYPE html>
<title>Books</title>
<ol id="updates"></ol>
<script>
fetch(location, {method: 'HEAD', credentials: 'omit'}).then(answer => {
    const hub = new URL(answer.headers.get('Link').match(/<([^>]+)>;\s+rel=(?:mercure|"[^"]*mercure[^"]*")/)[1]);
    hub.searchParams.append('topic', 'https://site.example/books/{id}');
    window.source = new EventSource(hub, {withCredentials: true});
    source.onopen = () => window.opened = (window.opened ?? 0) + 1;
    source.onmessage = event => {
        const item = document.createElement('li');
        item.textContent = event.data;
        item.dataset.id = event.lastEventId;
        document.getElementById('updates').append(item);
    };
});
</script>
HTML);
// What the framework does with the request's attributes when it sends the response.
$response->headers->set('Link', (new HttpHeaderSerializer())->serialize($request->attributes->get('_links')->getLinks()));
foreach ($request->attributes->get('_mercure_authorization_cookies', []) as $cookie) {
    $response->headers->setCookie($cookie);
}
$response->send();
