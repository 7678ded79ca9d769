/* limits.h - the documented constants of PROTOCOL 9. The body limit is a directive (MercureMaxBody). */
#ifndef MERCURE_LIMITS_H
#define MERCURE_LIMITS_H

#define MERCURE_MAX_TOPICS        1000       /* topics an update */
#define MERCURE_MAX_MATCHERS      100        /* matchers a subscription request */
#define MERCURE_MAX_DETAILS       100        /* authorization details a token */
#define MERCURE_MAX_DETAIL_TOPICS 100        /* topics summed over a token's details */
#define MERCURE_MAX_SELECTORS     1000       /* selectors (or targets) of one kind in a token of an older dialect */
#define MERCURE_MAX_TARGETS       1000       /* targets an update (PROTOCOL 11) */
#define MERCURE_MAX_VALUE         4096       /* bytes of a topic, a matcher, an id, a type or a retry */
#define MERCURE_MAX_TOKEN         16384      /* bytes of a token */
#define MERCURE_MAX_RECORD        (48 << 20) /* bytes of an encoded update: newlines in the data make it longer */
#define MERCURE_MAX_HUB_NAME      255        /* bytes of a hub's name */
#define MERCURE_MAX_BASES         64         /* different hub URLs that the URL Patterns of one hub are relative to */
#define MERCURE_MAX_REGEXPS       32768      /* bytes of compiled regular expressions in one request's URL Patterns */
#define MERCURE_MAX_BASE          2048       /* bytes of a hub's own URL */

#endif
