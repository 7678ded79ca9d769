/* anchors.h - finding the patterns that may match a text, without asking each. Private to lib/.
 *
 * A text has one or more fields: a URL its path, host and so on, a topic just itself. Most patterns begin or end with
 * literal text in some field: the path "/users/42/" of `/users/42/:what`, the host of `https://shop.example/:any`, the
 * path's end "/news" of `/:language/news`. Each pattern is filed under one such literal, its *anchor*: of those that it
 * has, the one under which the fewest patterns are filed already. A text asks only the patterns filed under the
 * beginnings and ends of its own fields. Whether they match they are still asked, so an anchor only has to be
 * necessary.
 *
 * Patterns are kept apart by *group*, a number of the caller's.
 */
#ifndef MERCURE_ANCHORS_H
#define MERCURE_ANCHORS_H

#include <stdint.h>

#include "mercure/str.h"

#define ANCHORS_FIELDS 4 /* at most */

typedef struct anchors anchors;
typedef struct anchor anchor;

/* What a field begins and ends with in every text that a pattern matches. Either may be empty. */
typedef struct {
    mercure_str beginning, end;
} anchor_literals;

/* Embedded by the caller in whatever holds a pattern. */
typedef struct {
    anchor *anchor;
    size_t position; /* among those filed there */
} anchored;

/* NULL only when there is no memory. */
anchors *anchors_create(void);

/* Free an empty one. NULL is allowed. */
void anchors_destroy(anchors *a);

/* File a pattern by the literals of its fields; when several serve as well, by the first. False only when there is no
 * memory.
 */
bool anchors_add(anchors *a, uint64_t group, const anchor_literals *literals, size_t fields, anchored *one);
void anchors_remove(anchors *a, anchored *one);

/* Call `visit` for each one of the group that may match a text of these fields; not twice. `visit` must not change the
 * anchors.
 */
void anchors_find(const anchors *a, uint64_t group, const mercure_str *text, size_t fields,
                  void (*visit)(void *context, anchored *one), void *context);

#endif
