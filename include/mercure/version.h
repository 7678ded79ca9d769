/* version.h - the release that mod_mercure and brokerd belong to. */
#ifndef MERCURE_VERSION_H
#define MERCURE_VERSION_H

#define MERCURE_VERSION "0.1.0"

#endif
