<?php
/* site.php - a site that uses Symfony's Mercure component, as its manual says, with Debian's packages.
 *
 * Debian has no lcobucci/jwt, so the token factory is ours; its tokens are those of the component's own LcobucciFactory:
 * typ JWT, the claim `mercure`, and an end.
 */
declare(strict_types=1);

require_once 'Symfony/Component/Mercure/autoload.php';

use Symfony\Component\HttpClient\HttpClient;
use Symfony\Component\Mercure\Hub;
use Symfony\Component\Mercure\Jwt\FactoryTokenProvider;
use Symfony\Component\Mercure\Jwt\TokenFactoryInterface;

const BOOKS = 'https://site.example/books/{id}';

final class Hs256Factory implements TokenFactoryInterface
{
    public function __construct(private string $secret)
    {
    }

    public function create(?array $subscribe = [], ?array $publish = [], array $additionalClaims = []): string
    {
        $additionalClaims['exp'] ??= new DateTimeImmutable('+1 hour');
        $claims = ['mercure' => array_filter(['publish' => $publish, 'subscribe' => $subscribe], 'is_array')];
        foreach ($additionalClaims as $name => $value) {
            $claims[$name] = $value instanceof DateTimeInterface ? $value->getTimestamp() : $value;
        }
        $text = self::part(json_encode(['typ' => 'JWT', 'alg' => 'HS256'])) . '.' . self::part(json_encode($claims));

        return $text . '.' . self::part(hash_hmac('sha256', $text, $this->secret, true));
    }

    private static function part(string $bytes): string
    {
        return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
    }
}

function hub(): Hub
{
    $factory = new Hs256Factory(getenv('MERCURE_SECRET'));

    return new Hub(
        getenv('MERCURE_URL'),
        new FactoryTokenProvider($factory, [], ['*']),
        $factory,
        getenv('MERCURE_URL'),
        HttpClient::create(['verify_peer' => false, 'verify_host' => false]) // the tests' certificate is self-signed
    );
}
