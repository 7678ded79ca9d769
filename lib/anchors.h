/* anchors.h - finding the URL Patterns that may match a URL, without asking each. Private to lib/.
 *
 * Most patterns begin or end with literal text in some component: the path "/users/42/" of `/users/42/:what`, the host
 * of `https://shop.example/:any`, the path's end "/news" of `/:language/news`. Each pattern is filed under one such
 * text, its *anchor*: of those that it has, the one under which the fewest patterns are filed already. A URL asks only
 * the patterns filed under the beginnings and ends of its own components. Whether they match they are still asked, so
 * an anchor only has to be necessary.
 *
 * Patterns are kept apart by *group*, a number of the caller's.
 */
#ifndef MERCURE_ANCHORS_H
#define MERCURE_ANCHORS_H

#include <stdint.h>

#include "mercure/urlpattern.h"

typedef struct anchors anchors;
typedef struct anchor anchor;

/* Embedded by the caller in whatever holds a pattern. */
typedef struct {
    anchor *anchor;
    size_t position; /* among those filed there */
} anchored;

/* NULL only when there is no memory. */
anchors *anchors_create(void);

/* Free an empty one. NULL is allowed. */
void anchors_destroy(anchors *a);

/* File a pattern. False only when there is no memory. */
bool anchors_add(anchors *a, uint64_t group, const mercure_urlpattern *pattern, anchored *one);
void anchors_remove(anchors *a, anchored *one);

/* Call `visit` for each one of the group that may match the URL; not twice. `visit` must not change the anchors. */
void anchors_find(const anchors *a, uint64_t group, const mercure_url_parts *url,
                  void (*visit)(void *context, anchored *one), void *context);

#endif
