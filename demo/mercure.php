<?php
/* mercure.php - a Mercure hub as seen from a PHP site: tokens and publishing. Copy it; it depends on nothing.
 *
 *   $hub = new Mercure('https://example.com/.well-known/mercure', 'https://example.com', $secret);
 *   $id = $hub->publish('https://example.com/books/1', json_encode($book));
 *
 * A token is a JWT access token (RFC 9068) signed with HS256: the secret is the one that MercureIssuer names.
 */
declare(strict_types=1);

/* The hub did not take the update. The code is the hub's HTTP status, or 0 when it was not reached. */
final class MercureError extends RuntimeException
{
    /* Seconds after which the hub may be asked again, or null when that would not help. */
    public ?int $retryAfter = null;
}

final class Mercure
{
    private const DETAIL = 'https://mercure.rocks/authorization-detail';
    private const TIMEOUT = 10;

    public function __construct(
        private string $url,
        private string $issuer,
        #[SensitiveParameter] private string $secret,
        private string $client = 'php-site',
    ) {
    }

    /* A token that grants the given topics ('*': all of them) for some seconds. */
    public function token(array $publish = [], array $subscribe = [], int $seconds = 60): string
    {
        $details = [];
        foreach (['publish' => $publish, 'subscribe' => $subscribe] as $action => $topics) {
            if ($topics !== []) {
                $details[] = [
                    'type' => self::DETAIL,
                    'actions' => [$action],
                    'topics' => array_map(fn (string $topic) => ['match' => $topic], array_values($topics)),
                ];
            }
        }
        $now = time();
        $claims = [
            'iss' => $this->issuer,
            'aud' => $this->url,
            'exp' => $now + $seconds,
            'iat' => $now,
            'jti' => bin2hex(random_bytes(16)),
            'sub' => $this->client,
            'client_id' => $this->client,
            'authorization_details' => $details,
        ];
        $text = self::part(['typ' => 'at+jwt', 'alg' => 'HS256']) . '.' . self::part($claims);

        return $text . '.' . self::base64(hash_hmac('sha256', $text, $this->secret, true));
    }

    /* Publish an update; returns its id. The data is any UTF-8 text. A private update reaches only subscribers whose token
     * grants one of its topics. */
    public function publish(
        string|array $topics,
        string $data,
        bool $private = false,
        ?string $type = null,
        ?string $id = null,
        ?int $retry = null,
    ): string {
        $topics = (array) $topics;
        $fields = array_map(fn (string $topic) => ['topic', $topic], array_values($topics));
        $fields[] = ['data', $data];
        if ($private) {
            $fields[] = ['private', 'on'];
        }
        foreach (['type' => $type, 'id' => $id, 'retry' => $retry] as $name => $value) {
            if ($value !== null) {
                $fields[] = [$name, (string) $value];
            }
        }
        /* Not http_build_query(): it would write topic[0]=... where the protocol repeats topic=... */
        $body = implode('&', array_map(fn (array $field) => $field[0] . '=' . urlencode($field[1]), $fields));
        $headers = [
            'Content-Type: application/x-www-form-urlencoded',
            'Authorization: Bearer ' . $this->token(publish: $topics),
        ];
        [$status, $answer, $retryAfter] = function_exists('curl_init')
            ? $this->postWithCurl($headers, $body)
            : $this->postWithStream($headers, $body);
        if ($status !== 200) {
            $error = new MercureError(self::explain($status, $answer), $status);
            $error->retryAfter = $retryAfter;
            throw $error;
        }

        return $answer;
    }

    /* Both return the status, the body, and Retry-After in seconds or null. */
    private function postWithCurl(array $headers, string $body): array
    {
        $retryAfter = null;
        $curl = curl_init($this->url);
        curl_setopt_array($curl, [
            CURLOPT_POSTFIELDS => $body,
            CURLOPT_HTTPHEADER => [...$headers, 'Expect:'],
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => self::TIMEOUT,
            CURLOPT_HEADERFUNCTION => function ($curl, string $line) use (&$retryAfter): int {
                $retryAfter = self::retryAfter($line) ?? $retryAfter;

                return strlen($line);
            },
        ]);
        $answer = curl_exec($curl);
        if ($answer === false) {
            throw new MercureError('The hub cannot be reached: ' . curl_error($curl));
        }

        return [curl_getinfo($curl, CURLINFO_RESPONSE_CODE), $answer, $retryAfter];
    }

    private function postWithStream(array $headers, string $body): array
    {
        $retryAfter = null;
        $context = stream_context_create(['http' => [
            'method' => 'POST',
            'header' => $headers,
            'content' => $body,
            'ignore_errors' => true,
            'follow_location' => 0,
            'timeout' => self::TIMEOUT,
        ]]);
        $stream = @fopen($this->url, 'r', false, $context);
        $answer = $stream !== false ? stream_get_contents($stream) : false;
        if ($answer === false || stream_get_meta_data($stream)['timed_out']) {
            throw new MercureError('The hub cannot be reached: ' . (error_get_last()['message'] ?? 'no answer in time'));
        }
        $lines = stream_get_meta_data($stream)['wrapper_data'];
        foreach ($lines as $line) {
            $retryAfter = self::retryAfter($line) ?? $retryAfter;
        }

        return [(int) (explode(' ', $lines[0])[1] ?? 0), $answer, $retryAfter];
    }

    private static function retryAfter(string $line): ?int
    {
        return preg_match('/^Retry-After:\s*(\d+)/i', $line, $found) === 1 ? (int) $found[1] : null;
    }

    private static function explain(int $status, string $answer): string
    {
        return match ($status) {
            400 => 'The hub finds the update or the request malformed.',
            401 => "The hub does not accept this site's token: the issuer, the secret, the audience or the clock differs.",
            403 => "This site's token does not allow it to publish on this topic.",
            404 => 'There is no hub at this address.',
            413 => 'The update is larger than the hub takes.',
            429, 503 => 'The hub cannot take the update now; try again soon.',
            default => "The hub answered $status: " . substr(trim($answer), 0, 200),
        };
    }

    private static function part(array $value): string
    {
        return self::base64(json_encode($value, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES));
    }

    private static function base64(string $bytes): string
    {
        return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    }
}
