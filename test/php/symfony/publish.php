<?php
/* Publishes what its form says, and answers the update's id; or what the component's exception says. */
declare(strict_types=1);

require 'site.php';

use Symfony\Component\HttpFoundation\Request;
use Symfony\Component\HttpFoundation\Response;
use Symfony\Component\Mercure\Exception\ExceptionInterface;
use Symfony\Component\Mercure\Update;

$fields = Request::createFromGlobals()->request;
try {
    $id = hub()->publish(new Update(
        $fields->all('topics'),
        $fields->get('data', ''),
        $fields->has('private'),
        $fields->get('id'),
        $fields->get('type'),
        $fields->has('retry') ? $fields->getInt('retry') : null
    ));
    (new Response($id))->send();
} catch (ExceptionInterface $e) {
    (new Response($e->getMessage() . ' ' . $e->getPrevious()?->getMessage(), 502))->send();
}
