/* replay.c - main() for a fuzz target without libFuzzer: run it over every file of the named folders, once. Where an
 * input fails, the target aborts, and the last line on stderr names it.
 */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>

static void replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    size_t len = 0, room = 0, got;

    if (file == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    do {
        if (room - len < 4096) {
            room = room * 2 + 8192;
            data = realloc(data, room);
            if (data == NULL) {
                abort();
            }
        }
        got = fread(data + len, 1, room - len, file);
        len += got;
    } while (got > 0);
    fclose(file);
    fprintf(stderr, "%s\n", path);
    /* In an allocation of its own length, as libFuzzer does. */
    uint8_t *exact = (uint8_t *)fuzz_exact((mercure_str){(const char *)data, len});
    free(data);
    LLVMFuzzerTestOneInput(exact, len);
    free(exact);
}

int main(int argc, char **argv)
{
    size_t inputs = 0;

    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        struct dirent *entry;
        char path[4096];

        if (folder == NULL) {
            fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
            return 1;
        }
        while ((entry = readdir(folder)) != NULL) {
            if (entry->d_name[0] != '.') {
                snprintf(path, sizeof(path), "%s/%s", argv[i], entry->d_name);
                replay(path);
                inputs++;
            }
        }
        closedir(folder);
    }
    printf("%zu inputs\n", inputs);
    return inputs > 0 ? 0 : 1;
}
