/* url_idna.c - domains to ASCII, as the URL Standard does it.
 *
 * Domains outside ASCII go through UTS #46 (non-transitional, CheckBidi, CheckJoiners; no hyphen, STD3 or DNS length
 * checks). libidn2 cannot do that as it stands: after the UTS #46 mapping it refuses whatever IDNA2008 refuses (every
 * emoji), hyphens at a label's end or in its third and fourth place, and labels over 63 bytes; there is no flag against
 * any of it. What it does right can be had by asking it for less than a domain at a time:
 *   - the mapping, by asking for one code point (map_code_point); what it refuses then is looked up in tables here;
 *   - NFC, by asking for one letter with its combining marks (compose);
 *   - the rules for joiners and right-to-left labels, by asking for a label in which everything that libidn2 would
 *     refuse has been replaced by a stand-in of the same directionality (check_context).
 * Such a question costs about half a microsecond, and a code point two or three of them. Splitting into labels and
 * Punycode (RFC 3492) are our own.
 *
 * Since 2026 the standard takes an ASCII domain as it is, lower-cased, whatever its xn-- labels decode to: pages with
 * broken ones exist. They are only decoded and checked next to a label that is not ASCII.
 *
 * Known gaps, all in what libidn2's Unicode version does not know: joining types and combining classes of scripts
 * added after it, and composition of sequences of more than 63 bytes of Punycode.
 */
#include "url_internal.h"

#include <apr_strings.h>
#include <idn2.h>

#include <string.h>

/* A label of more code points than this is refused when it is not ASCII: Punycode takes quadratic time. No name in use
 * has more than 63 bytes. */
#define LABEL_MAX_CODE_POINTS 1000

/* What libidn2 2.3.3 refuses and UTS #46 does not, worked out by asking it about every code point and comparing with
 * the Unicode 17 mapping table. Consulted only after libidn2 refused, so ranges run over code points that it takes, and
 * a newer libidn2 that refuses less stays right. */

/* Code points that are valid. The class is the directionality that the bidi rule looks at: 'L' left to right, 'R' right
 * to left (R or AL), 'A' Arabic number, 'E' European number, 'O' other; or 'M' for a combining mark. */
static const struct {
    uint32_t first;
    uint32_t last;
    char class;
} refused_valid[] = {
    // clang-format off
    {0xA1, 0x2FF, 'O'}, {0x3F6, 0x3F6, 'O'}, {0x482, 0x482, 'L'}, {0x488, 0x489, 'M'}, {0x55A, 0x589, 'L'},
    {0x58A, 0x58A, 'O'}, {0x58D, 0x58F, 'O'}, {0x5BE, 0x5C6, 'R'}, {0x606, 0x607, 'O'}, {0x608, 0x608, 'R'},
    {0x609, 0x60A, 'O'}, {0x60B, 0x60B, 'R'}, {0x60C, 0x60C, 'O'}, {0x60D, 0x60D, 'R'}, {0x60E, 0x60F, 'O'},
    {0x61B, 0x61B, 'R'}, {0x61D, 0x640, 'R'}, {0x66A, 0x66A, 'O'}, {0x66B, 0x66C, 'A'}, {0x66D, 0x6D4, 'R'},
    {0x6DE, 0x6E9, 'O'}, {0x700, 0x70D, 'R'}, {0x7F6, 0x7F9, 'O'}, {0x7FA, 0x7FA, 'R'}, {0x7FE, 0x7FF, 'R'},
    {0x830, 0x83E, 'R'}, {0x85E, 0x85E, 'R'}, {0x870, 0x88F, 'R'}, {0x897, 0x89F, 'M'}, {0x8B5, 0x8C9, 'R'},
    {0x8CA, 0x8D2, 'M'}, {0x964, 0x970, 'L'}, {0x9F2, 0x9F3, 'O'}, {0x9F4, 0x9FA, 'L'}, {0x9FB, 0x9FB, 'O'},
    {0x9FD, 0x9FD, 'L'}, {0xA76, 0xA76, 'L'}, {0xAF0, 0xAF0, 'L'}, {0xAF1, 0xAF1, 'O'}, {0xB55, 0xB55, 'M'},
    {0xB70, 0xB77, 'L'}, {0xBF0, 0xBF2, 'L'}, {0xBF3, 0xBFA, 'O'}, {0xC3C, 0xC3C, 'M'}, {0xC5C, 0xC5D, 'L'},
    {0xC77, 0xC77, 'L'}, {0xC78, 0xC7E, 'O'}, {0xC7F, 0xC84, 'L'}, {0xCDC, 0xCDD, 'L'}, {0xCF3, 0xCF3, 'M'},
    {0xD04, 0xD04, 'L'}, {0xD4F, 0xD4F, 'L'}, {0xD58, 0xD5E, 'L'}, {0xD70, 0xD79, 'L'}, {0xD81, 0xD81, 'M'},
    {0xDF4, 0xDF4, 'L'}, {0xE3F, 0xE3F, 'O'}, {0xE4F, 0xE5B, 'L'}, {0xECE, 0xECE, 'M'}, {0xF01, 0xF38, 'L'},
    {0xF3A, 0xF3D, 'O'}, {0xF85, 0xF85, 'L'}, {0xFBE, 0xFCC, 'L'}, {0xFCE, 0xFDA, 'L'}, {0x104A, 0x109F, 'L'},
    {0x10FB, 0x11FF, 'L'}, {0x1360, 0x137C, 'L'}, {0x1390, 0x1399, 'O'}, {0x1400, 0x1400, 'O'}, {0x166D, 0x166E, 'L'},
    {0x169B, 0x169C, 'O'}, {0x16EB, 0x16F0, 'L'}, {0x170D, 0x170D, 'L'}, {0x1715, 0x1715, 'M'}, {0x171F, 0x1736, 'L'},
    {0x17D4, 0x17DA, 'L'}, {0x17DB, 0x17DB, 'O'}, {0x17F0, 0x17F9, 'O'}, {0x1800, 0x180A, 'O'}, {0x1940, 0x1940, 'O'},
    {0x1944, 0x1945, 'O'}, {0x19DA, 0x19DA, 'L'}, {0x19DE, 0x19FF, 'O'}, {0x1A1E, 0x1A1F, 'L'}, {0x1AA0, 0x1AAD, 'L'},
    {0x1ABE, 0x1ADD, 'M'}, {0x1AE0, 0x1AEB, 'M'}, {0x1B4C, 0x1B4C, 'L'}, {0x1B4E, 0x1B7F, 'L'}, {0x1BFC, 0x1BFF, 'L'},
    {0x1C3B, 0x1C3F, 'L'}, {0x1C7E, 0x1C8A, 'L'}, {0x1CC0, 0x1CC7, 'L'}, {0x1CD3, 0x1CD3, 'L'}, {0x1DFA, 0x1DFA, 'M'},
    {0x2010, 0x2023, 'O'}, {0x2027, 0x2027, 'O'}, {0x2030, 0x205E, 'O'}, {0x20A0, 0x20C1, 'O'}, {0x20D0, 0x20F0, 'M'},
    {0x2104, 0x214D, 'O'}, {0x214F, 0x2188, 'L'}, {0x218A, 0x218B, 'O'}, {0x2190, 0x2335, 'O'}, {0x2336, 0x237A, 'L'},
    {0x237B, 0x2394, 'O'}, {0x2395, 0x2395, 'L'}, {0x2396, 0x2429, 'O'}, {0x2440, 0x244A, 'O'}, {0x24EB, 0x26AB, 'O'},
    {0x26AC, 0x26AC, 'L'}, {0x26AD, 0x27FF, 'O'}, {0x2800, 0x28FF, 'L'}, {0x2900, 0x2B73, 'O'}, {0x2B76, 0x2BFF, 'O'},
    {0x2C5F, 0x2C5F, 'L'}, {0x2CE5, 0x2CEA, 'O'}, {0x2CF9, 0x2CFF, 'O'}, {0x2D70, 0x2D70, 'L'}, {0x2E00, 0x2E5D, 'O'},
    {0x2E80, 0x2E99, 'O'}, {0x2E9B, 0x2EF2, 'O'}, {0x3001, 0x3020, 'O'}, {0x3021, 0x3029, 'L'}, {0x302E, 0x302F, 'M'},
    {0x3030, 0x3030, 'O'}, {0x3031, 0x3035, 'L'}, {0x3037, 0x3037, 'O'}, {0x303B, 0x303B, 'L'}, {0x303D, 0x303F, 'O'},
    {0x30A0, 0x30A0, 'O'}, {0x3190, 0x31BF, 'L'}, {0x31C0, 0x31E5, 'O'}, {0x3248, 0x327F, 'L'}, {0x4DB6, 0x4DBF, 'L'},
    {0x4DC0, 0x4DFF, 'O'}, {0x9FF0, 0x9FFF, 'L'}, {0xA490, 0xA4C6, 'O'}, {0xA4FE, 0xA4FF, 'L'}, {0xA60D, 0xA60F, 'O'},
    {0xA670, 0xA672, 'M'}, {0xA673, 0xA67E, 'O'}, {0xA6E6, 0xA6F7, 'L'}, {0xA700, 0xA721, 'O'}, {0xA789, 0xA7DB, 'L'},
    {0xA7F6, 0xA7F6, 'L'}, {0xA828, 0xA82B, 'O'}, {0xA82C, 0xA82C, 'M'}, {0xA830, 0xA837, 'L'}, {0xA838, 0xA839, 'O'},
    {0xA874, 0xA877, 'O'}, {0xA8CE, 0xA8CF, 'L'}, {0xA8F8, 0xA92F, 'L'}, {0xA95F, 0xA97C, 'L'}, {0xA9C1, 0xA9CD, 'L'},
    {0xA9DE, 0xA9DF, 'L'}, {0xAA5C, 0xAA79, 'L'}, {0xAADE, 0xAAF1, 'L'}, {0xAB5B, 0xAB68, 'L'}, {0xAB6A, 0xAB6B, 'O'},
    {0xABEB, 0xABEB, 'L'}, {0xD7B0, 0xD7C6, 'L'}, {0xD7CB, 0xD7FB, 'L'}, {0xFBB2, 0xFBC2, 'R'}, {0xFBC3, 0xFDCF, 'O'},
    {0xFDFD, 0xFDFF, 'O'}, {0xFE45, 0xFE46, 'O'}, {0x10100, 0x10100, 'L'}, {0x10101, 0x10101, 'O'},
    {0x10102, 0x10102, 'L'}, {0x10107, 0x10133, 'L'}, {0x10137, 0x1013F, 'L'}, {0x10140, 0x1018C, 'O'},
    {0x1018D, 0x1018E, 'L'}, {0x10190, 0x1019C, 'O'}, {0x101A0, 0x101A0, 'O'}, {0x101D0, 0x101FC, 'L'},
    {0x102E1, 0x102FB, 'E'}, {0x10320, 0x10323, 'L'}, {0x10341, 0x1034A, 'L'}, {0x1039F, 0x1039F, 'L'},
    {0x103D0, 0x103D5, 'L'}, {0x1056F, 0x1056F, 'L'}, {0x10597, 0x105A1, 'L'}, {0x105A3, 0x105B1, 'L'},
    {0x105B3, 0x105B9, 'L'}, {0x105BB, 0x105BC, 'L'}, {0x105C0, 0x105F3, 'L'}, {0x10780, 0x10780, 'L'},
    {0x10857, 0x1087F, 'R'}, {0x108A7, 0x108AF, 'R'}, {0x108FB, 0x1091B, 'R'}, {0x1091F, 0x1091F, 'O'},
    {0x1093F, 0x10959, 'R'}, {0x109BC, 0x109CF, 'R'}, {0x109D2, 0x109FF, 'R'}, {0x10A40, 0x10A48, 'R'},
    {0x10A50, 0x10A58, 'R'}, {0x10A7D, 0x10A9F, 'R'}, {0x10AC8, 0x10AC8, 'R'}, {0x10AEB, 0x10AF6, 'R'},
    {0x10B39, 0x10B3F, 'O'}, {0x10B58, 0x10B5F, 'R'}, {0x10B78, 0x10B7F, 'R'}, {0x10B99, 0x10B9C, 'R'},
    {0x10BA9, 0x10BAF, 'R'}, {0x10CFA, 0x10CFF, 'R'}, {0x10D40, 0x10D49, 'A'}, {0x10D4A, 0x10D4F, 'R'},
    {0x10D69, 0x10D6D, 'M'}, {0x10D6E, 0x10D6E, 'O'}, {0x10D6F, 0x10D85, 'R'}, {0x10D8E, 0x10D8F, 'R'},
    {0x10E60, 0x10E7E, 'A'}, {0x10E80, 0x10EA9, 'R'}, {0x10EAB, 0x10EAC, 'M'}, {0x10EAD, 0x10EAD, 'R'},
    {0x10EB0, 0x10EB1, 'R'}, {0x10EC2, 0x10EC7, 'R'}, {0x10ED0, 0x10ED8, 'O'}, {0x10EFA, 0x10EFF, 'M'},
    {0x10F1D, 0x10F26, 'R'}, {0x10F51, 0x10F59, 'R'}, {0x10F70, 0x10F81, 'R'}, {0x10F82, 0x10F85, 'M'},
    {0x10F86, 0x10F89, 'R'}, {0x10FB0, 0x10FCB, 'R'}, {0x11047, 0x1104D, 'L'}, {0x11052, 0x11065, 'O'},
    {0x11070, 0x11070, 'M'}, {0x11071, 0x11072, 'L'}, {0x11073, 0x11074, 'M'}, {0x11075, 0x11075, 'L'},
    {0x110BB, 0x110BC, 'L'}, {0x110BE, 0x110C1, 'L'}, {0x110C2, 0x110C2, 'M'}, {0x11140, 0x11147, 'L'},
    {0x11174, 0x11175, 'L'}, {0x111C5, 0x111CD, 'L'}, {0x111CE, 0x111CF, 'M'}, {0x111DB, 0x111DF, 'L'},
    {0x111E1, 0x111F4, 'L'}, {0x11238, 0x11240, 'L'}, {0x11241, 0x11241, 'M'}, {0x112A9, 0x112A9, 'L'},
    {0x11380, 0x11389, 'L'}, {0x1138B, 0x1138B, 'L'}, {0x1138E, 0x1138E, 'L'}, {0x11390, 0x113B5, 'L'},
    {0x113B7, 0x113B7, 'L'}, {0x113B8, 0x113C0, 'M'}, {0x113C2, 0x113C2, 'M'}, {0x113C5, 0x113C5, 'M'},
    {0x113C7, 0x113CA, 'M'}, {0x113CC, 0x113D0, 'M'}, {0x113D1, 0x113D1, 'L'}, {0x113D2, 0x113D2, 'M'},
    {0x113D3, 0x113D5, 'L'}, {0x113D7, 0x113D8, 'L'}, {0x113E1, 0x113E2, 'M'}, {0x1144B, 0x1145B, 'L'},
    {0x1145D, 0x11461, 'L'}, {0x114C6, 0x114C6, 'L'}, {0x115C1, 0x115D7, 'L'}, {0x11641, 0x11643, 'L'},
    {0x11660, 0x1166C, 'O'}, {0x116B9, 0x116B9, 'L'}, {0x116D0, 0x116E3, 'L'}, {0x1173A, 0x11746, 'L'},
    {0x1183B, 0x1183B, 'L'}, {0x118EA, 0x118F2, 'L'}, {0x11900, 0x11906, 'L'}, {0x11909, 0x11909, 'L'},
    {0x1190C, 0x11913, 'L'}, {0x11915, 0x11916, 'L'}, {0x11918, 0x1192F, 'L'}, {0x11930, 0x11935, 'M'},
    {0x11937, 0x11938, 'M'}, {0x1193B, 0x1193E, 'M'}, {0x1193F, 0x1193F, 'L'}, {0x11940, 0x11940, 'M'},
    {0x11941, 0x11941, 'L'}, {0x11942, 0x11943, 'M'}, {0x11944, 0x11946, 'L'}, {0x11950, 0x11959, 'L'},
    {0x119E2, 0x119E2, 'L'}, {0x11A3F, 0x11A46, 'L'}, {0x11A9A, 0x11AA2, 'L'}, {0x11AB0, 0x11ABF, 'L'},
    {0x11B00, 0x11B09, 'L'}, {0x11B60, 0x11B67, 'M'}, {0x11BC0, 0x11BE1, 'L'}, {0x11BF0, 0x11BF9, 'L'},
    {0x11C41, 0x11C45, 'L'}, {0x11C5A, 0x11C6C, 'L'}, {0x11C70, 0x11C71, 'L'}, {0x11DB0, 0x11DDB, 'L'},
    {0x11DE0, 0x11DE9, 'L'}, {0x11EF7, 0x11EF8, 'L'}, {0x11F00, 0x11F01, 'M'}, {0x11F02, 0x11F02, 'L'},
    {0x11F03, 0x11F03, 'M'}, {0x11F04, 0x11F10, 'L'}, {0x11F12, 0x11F33, 'L'}, {0x11F34, 0x11F3A, 'M'},
    {0x11F3E, 0x11F42, 'M'}, {0x11F43, 0x11F59, 'L'}, {0x11F5A, 0x11F5A, 'M'}, {0x11FB0, 0x11FB0, 'L'},
    {0x11FC0, 0x11FD4, 'L'}, {0x11FD5, 0x11FF1, 'O'}, {0x11FFF, 0x11FFF, 'L'}, {0x12400, 0x1246E, 'L'},
    {0x12470, 0x12474, 'L'}, {0x12F90, 0x12FF2, 'L'}, {0x1342F, 0x1342F, 'L'}, {0x13440, 0x13440, 'M'},
    {0x13441, 0x13446, 'L'}, {0x13447, 0x13455, 'M'}, {0x13460, 0x143FA, 'L'}, {0x16100, 0x1611D, 'L'},
    {0x1611E, 0x1612F, 'M'}, {0x16130, 0x16139, 'L'}, {0x16A6E, 0x16ABE, 'L'}, {0x16AC0, 0x16AC9, 'L'},
    {0x16AF5, 0x16AF5, 'L'}, {0x16B37, 0x16B45, 'L'}, {0x16B5B, 0x16B61, 'L'}, {0x16D40, 0x16D79, 'L'},
    {0x16E80, 0x16E9A, 'L'}, {0x16EBB, 0x16ED3, 'L'}, {0x16FE2, 0x16FE2, 'O'}, {0x16FE4, 0x16FE4, 'M'},
    {0x16FF0, 0x16FF1, 'M'}, {0x16FF2, 0x16FF6, 'L'}, {0x187F8, 0x18CD5, 'L'}, {0x18CFF, 0x18D1E, 'L'},
    {0x18D80, 0x18DF2, 'L'}, {0x1AFF0, 0x1AFF3, 'L'}, {0x1AFF5, 0x1AFFB, 'L'}, {0x1AFFD, 0x1AFFE, 'L'},
    {0x1B11F, 0x1B122, 'L'}, {0x1B132, 0x1B132, 'L'}, {0x1B155, 0x1B155, 'L'}, {0x1BC9C, 0x1BC9F, 'L'},
    {0x1CC00, 0x1CCFC, 'O'}, {0x1CD00, 0x1CEB3, 'O'}, {0x1CEBA, 0x1CED0, 'O'}, {0x1CEE0, 0x1CEF0, 'O'},
    {0x1CF00, 0x1CF2D, 'M'}, {0x1CF30, 0x1CF46, 'M'}, {0x1CF50, 0x1CFC3, 'L'}, {0x1D000, 0x1D0F5, 'L'},
    {0x1D100, 0x1D126, 'L'}, {0x1D129, 0x1D15D, 'L'}, {0x1D165, 0x1D169, 'M'}, {0x1D16A, 0x1D16C, 'L'},
    {0x1D16D, 0x1D182, 'M'}, {0x1D183, 0x1D184, 'L'}, {0x1D185, 0x1D18B, 'M'}, {0x1D18C, 0x1D1A9, 'L'},
    {0x1D1AA, 0x1D1AD, 'M'}, {0x1D1AE, 0x1D1E8, 'L'}, {0x1D1E9, 0x1D1EA, 'O'}, {0x1D200, 0x1D241, 'O'},
    {0x1D242, 0x1D244, 'M'}, {0x1D245, 0x1D245, 'O'}, {0x1D2C0, 0x1D2D3, 'L'}, {0x1D2E0, 0x1D2F3, 'L'},
    {0x1D300, 0x1D356, 'O'}, {0x1D360, 0x1D378, 'L'}, {0x1D800, 0x1DA8B, 'L'}, {0x1DF00, 0x1DF1E, 'L'},
    {0x1DF25, 0x1DF2A, 'L'}, {0x1E08F, 0x1E08F, 'M'}, {0x1E14F, 0x1E14F, 'L'}, {0x1E290, 0x1E2AD, 'L'},
    {0x1E2AE, 0x1E2AE, 'M'}, {0x1E2FF, 0x1E2FF, 'O'}, {0x1E4D0, 0x1E4EB, 'L'}, {0x1E4EC, 0x1E4EF, 'M'},
    {0x1E4F0, 0x1E4F9, 'L'}, {0x1E5D0, 0x1E5ED, 'L'}, {0x1E5EE, 0x1E5EF, 'M'}, {0x1E5F0, 0x1E5FA, 'L'},
    {0x1E5FF, 0x1E5FF, 'L'}, {0x1E6C0, 0x1E6DE, 'L'}, {0x1E6E0, 0x1E6E2, 'L'}, {0x1E6E3, 0x1E6E3, 'M'},
    {0x1E6E4, 0x1E6E5, 'L'}, {0x1E6E6, 0x1E6E6, 'M'}, {0x1E6E7, 0x1E6ED, 'L'}, {0x1E6EE, 0x1E6EF, 'M'},
    {0x1E6F0, 0x1E6F4, 'L'}, {0x1E6F5, 0x1E6F5, 'M'}, {0x1E6FE, 0x1E6FF, 'L'}, {0x1E7E0, 0x1E7E6, 'L'},
    {0x1E7E8, 0x1E7EB, 'L'}, {0x1E7ED, 0x1E7EE, 'L'}, {0x1E7F0, 0x1E7FE, 'L'}, {0x1E8C7, 0x1E8CF, 'R'},
    {0x1E95E, 0x1E95F, 'R'}, {0x1EC71, 0x1ECB4, 'R'}, {0x1ED01, 0x1ED3D, 'R'}, {0x1EEF0, 0x1EEF1, 'O'},
    {0x1F000, 0x1F02B, 'O'}, {0x1F030, 0x1F093, 'O'}, {0x1F0A0, 0x1F0AE, 'O'}, {0x1F0B1, 0x1F0BF, 'O'},
    {0x1F0C1, 0x1F0CF, 'O'}, {0x1F0D1, 0x1F0F5, 'O'}, {0x1F10B, 0x1F12F, 'O'}, {0x1F150, 0x1F169, 'L'},
    {0x1F16D, 0x1F16F, 'O'}, {0x1F170, 0x1F1AC, 'L'}, {0x1F1AD, 0x1F1AD, 'O'}, {0x1F1E6, 0x1F1FF, 'L'},
    {0x1F260, 0x1F265, 'O'}, {0x1F300, 0x1F6D8, 'O'}, {0x1F6DC, 0x1F6EC, 'O'}, {0x1F6F0, 0x1F6FC, 'O'},
    {0x1F700, 0x1F7D9, 'O'}, {0x1F7E0, 0x1F7EB, 'O'}, {0x1F7F0, 0x1F7F0, 'O'}, {0x1F800, 0x1F80B, 'O'},
    {0x1F810, 0x1F847, 'O'}, {0x1F850, 0x1F859, 'O'}, {0x1F860, 0x1F887, 'O'}, {0x1F890, 0x1F8AD, 'O'},
    {0x1F8B0, 0x1F8BB, 'O'}, {0x1F8C0, 0x1F8C1, 'O'}, {0x1F8D0, 0x1F8D8, 'O'}, {0x1F900, 0x1FA57, 'O'},
    {0x1FA60, 0x1FA6D, 'O'}, {0x1FA70, 0x1FA7C, 'O'}, {0x1FA80, 0x1FA8A, 'O'}, {0x1FA8E, 0x1FAC6, 'O'},
    {0x1FAC8, 0x1FAC8, 'O'}, {0x1FACD, 0x1FADC, 'O'}, {0x1FADF, 0x1FAEA, 'O'}, {0x1FAEF, 0x1FAF8, 'O'},
    {0x1FB00, 0x1FB92, 'O'}, {0x1FB94, 0x1FBFA, 'O'}, {0x2A6D7, 0x2A6DF, 'L'}, {0x2B735, 0x2B73F, 'L'},
    {0x2CEA2, 0x2CEAD, 'L'}, {0x2EBF0, 0x2EE5D, 'L'}, {0x30000, 0x3134A, 'L'}, {0x31350, 0x33479, 'L'},
    // clang-format on
};

/* Ranges that are mapped to a range. */
static const struct {
    uint32_t first;
    uint32_t last;
    uint32_t to;
} refused_shifted[] = {
    // clang-format off
    {0x10A0, 0x10C5, 0x2D00}, {0x3137, 0x3139, 0x1103}, {0x313A, 0x313F, 0x11B0}, {0x3141, 0x3143, 0x1106},
    {0x3145, 0x314E, 0x1109}, {0x314F, 0x3163, 0x1161}, {0x3178, 0x317C, 0x112B}, {0x3184, 0x3186, 0x1157},
    {0x3263, 0x3265, 0x1105}, {0x3269, 0x326D, 0x110E}, {0xFE41, 0xFE44, 0x300C}, {0xFFA7, 0xFFA9, 0x1103},
    {0xFFAA, 0xFFAF, 0x11B0}, {0xFFB1, 0xFFB3, 0x1106}, {0xFFB5, 0xFFBE, 0x1109}, {0xFFC2, 0xFFC7, 0x1161},
    {0xFFCA, 0xFFCF, 0x1167}, {0xFFD2, 0xFFD7, 0x116D}, {0xFFDA, 0xFFDC, 0x1173}, {0xFFE9, 0xFFEC, 0x2190},
    {0x10570, 0x1057A, 0x10597}, {0x1057C, 0x1058A, 0x105A3}, {0x1058C, 0x10592, 0x105B3},
    {0x10D50, 0x10D65, 0x10D70}, {0x16EA0, 0x16EB8, 0x16EBB}, {0x1CCD6, 0x1CCEF, 0x61}, {0x1CCF0, 0x1CCF9, 0x30},
    {0x1E030, 0x1E038, 0x430}, {0x1E039, 0x1E03B, 0x43A}, {0x1E03C, 0x1E046, 0x43E}, {0x1E051, 0x1E059, 0x430},
    {0x1E05F, 0x1E064, 0x443},
    // clang-format on
};

/* Code points that are mapped to a string, or ignored (""). */
static const struct {
    uint32_t from;
    const char *to;
} refused_mapped[] = {
    // clang-format off
    {0xBC, "1\u20444"}, {0xBD, "1\u20442"}, {0xBE, "3\u20444"}, {0x4C0, "\u04CF"}, {0x115F, ""}, {0x1160, ""},
    {0x17B4, ""}, {0x17B5, ""}, {0x180E, ""}, {0x1C89, "\u1C8A"}, {0x2011, "\u2010"}, {0x2033, "\u2032\u2032"},
    {0x2034, "\u2032\u2032\u2032"}, {0x2036, "\u2035\u2035"}, {0x2037, "\u2035\u2035\u2035"},
    {0x2057, "\u2032\u2032\u2032\u2032"}, {0x2061, ""}, {0x2062, ""}, {0x2063, ""}, {0x206A, ""}, {0x206B, ""},
    {0x206C, ""}, {0x206D, ""}, {0x206E, ""}, {0x206F, ""}, {0x207B, "\u2212"}, {0x208B, "\u2212"},
    {0x2103, "\u00B0c"}, {0x2109, "\u00B0f"}, {0x2132, "\u214E"}, {0x2140, "\u2211"}, {0x2150, "1\u20447"},
    {0x2151, "1\u20449"}, {0x2152, "1\u204410"}, {0x2153, "1\u20443"}, {0x2154, "2\u20443"}, {0x2155, "1\u20445"},
    {0x2156, "2\u20445"}, {0x2157, "3\u20445"}, {0x2158, "4\u20445"}, {0x2159, "1\u20446"}, {0x215A, "5\u20446"},
    {0x215B, "1\u20448"}, {0x215C, "3\u20448"}, {0x215D, "5\u20448"}, {0x215E, "7\u20448"}, {0x215F, "1\u2044"},
    {0x2183, "\u2184"}, {0x2189, "0\u20443"}, {0x222C, "\u222B\u222B"}, {0x222D, "\u222B\u222B\u222B"},
    {0x222F, "\u222E\u222E"}, {0x2230, "\u222E\u222E\u222E"}, {0x2329, "\u3008"}, {0x232A, "\u3009"},
    {0x2A0C, "\u222B\u222B\u222B\u222B"}, {0x2ADC, "\u2ADD\u0338"}, {0x2C2F, "\u2C5F"}, {0x3036, "\u3012"},
    {0x3131, "\u1100"}, {0x3132, "\u1101"}, {0x3133, "\u11AA"}, {0x3134, "\u1102"}, {0x3135, "\u11AC"},
    {0x3136, "\u11AD"}, {0x3140, "\u111A"}, {0x3144, "\u1121"}, {0x3164, ""}, {0x3165, "\u1114"}, {0x3166, "\u1115"},
    {0x3167, "\u11C7"}, {0x3168, "\u11C8"}, {0x3169, "\u11CC"}, {0x316A, "\u11CE"}, {0x316B, "\u11D3"},
    {0x316C, "\u11D7"}, {0x316D, "\u11D9"}, {0x316E, "\u111C"}, {0x316F, "\u11DD"}, {0x3170, "\u11DF"},
    {0x3171, "\u111D"}, {0x3172, "\u111E"}, {0x3173, "\u1120"}, {0x3174, "\u1122"}, {0x3175, "\u1123"},
    {0x3176, "\u1127"}, {0x3177, "\u1129"}, {0x317D, "\u1132"}, {0x317E, "\u1136"}, {0x317F, "\u1140"},
    {0x3180, "\u1147"}, {0x3181, "\u114C"}, {0x3182, "\u11F1"}, {0x3183, "\u11F2"}, {0x3187, "\u1184"},
    {0x3188, "\u1185"}, {0x3189, "\u1188"}, {0x318A, "\u1191"}, {0x318B, "\u1192"}, {0x318C, "\u1194"},
    {0x318D, "\u119E"}, {0x318E, "\u11A1"}, {0x3200, "(\u1100)"}, {0x3201, "(\u1102)"}, {0x3202, "(\u1103)"},
    {0x3203, "(\u1105)"}, {0x3204, "(\u1106)"}, {0x3205, "(\u1107)"}, {0x3206, "(\u1109)"}, {0x3207, "(\u110B)"},
    {0x3208, "(\u110C)"}, {0x3209, "(\u110E)"}, {0x320A, "(\u110F)"}, {0x320B, "(\u1110)"}, {0x320C, "(\u1111)"},
    {0x320D, "(\u1112)"}, {0x3260, "\u1100"}, {0x3261, "\u1102"}, {0x3262, "\u1103"}, {0x3266, "\u1109"},
    {0x3267, "\u110B"}, {0x3268, "\u110C"}, {0x33A7, "m\u2215s"}, {0x33A8, "m\u2215s2"}, {0x33AE, "rad\u2215s"},
    {0x33AF, "rad\u2215s2"}, {0x33C6, "c\u2215kg"}, {0x33DE, "v\u2215m"}, {0x33DF, "a\u2215m"}, {0xA7C0, "\uA7C1"},
    {0xA7C7, "\uA7C8"}, {0xA7C9, "\uA7CA"}, {0xA7CB, "\u0264"}, {0xA7CC, "\uA7CD"}, {0xA7CE, "\uA7CF"},
    {0xA7D0, "\uA7D1"}, {0xA7D2, "\uA7D3"}, {0xA7D4, "\uA7D5"}, {0xA7D6, "\uA7D7"}, {0xA7D8, "\uA7D9"},
    {0xA7DA, "\uA7DB"}, {0xA7DC, "\u019B"}, {0xA7F1, "s"}, {0xA7F5, "\uA7F6"}, {0xFCF2, "\u0640\u064E\u0651"},
    {0xFCF3, "\u0640\u064F\u0651"}, {0xFCF4, "\u0640\u0650\u0651"},
    {0xFDFA, "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647 \u0639\u0644\u064A\u0647 \u0648\u0633\u0644\u0645"},
    {0xFDFB, "\u062C\u0644 \u062C\u0644\u0627\u0644\u0647"}, {0xFE11, "\u3001"}, {0xFE17, "\u3016"},
    {0xFE18, "\u3017"}, {0xFE31, "\u2014"}, {0xFE32, "\u2013"}, {0xFE39, "\u3014"}, {0xFE3A, "\u3015"},
    {0xFE3B, "\u3010"}, {0xFE3C, "\u3011"}, {0xFE3D, "\u300A"}, {0xFE3E, "\u300B"}, {0xFE3F, "\u3008"},
    {0xFE40, "\u3009"}, {0xFE51, "\u3001"}, {0xFE58, "\u2014"}, {0xFE5D, "\u3014"}, {0xFE5E, "\u3015"}, {0xFE63, "-"},
    {0xFE71, "\u0640\u064B"}, {0xFE77, "\u0640\u064E"}, {0xFE79, "\u0640\u064F"}, {0xFE7B, "\u0640\u0650"},
    {0xFE7D, "\u0640\u0651"}, {0xFE7F, "\u0640\u0652"}, {0xFF0D, "-"}, {0xFF5F, "\u2985"}, {0xFF60, "\u2986"},
    {0xFF62, "\u300C"}, {0xFF63, "\u300D"}, {0xFF64, "\u3001"}, {0xFFA0, ""}, {0xFFA1, "\u1100"}, {0xFFA2, "\u1101"},
    {0xFFA3, "\u11AA"}, {0xFFA4, "\u1102"}, {0xFFA5, "\u11AC"}, {0xFFA6, "\u11AD"}, {0xFFB0, "\u111A"},
    {0xFFB4, "\u1121"}, {0xFFE0, "\u00A2"}, {0xFFE1, "\u00A3"}, {0xFFE2, "\u00AC"}, {0xFFE4, "\u00A6"},
    {0xFFE5, "\u00A5"}, {0xFFE6, "\u20A9"}, {0xFFE8, "\u2502"}, {0xFFED, "\u25A0"}, {0xFFEE, "\u25CB"},
    {0x10594, "\U000105BB"}, {0x10595, "\U000105BC"}, {0x1079C, "\U0001DF04"}, {0x1079F, "\U0001DF05"},
    {0x107A1, "\U0001DF06"}, {0x107A7, "\U0001DF08"}, {0x107B9, "\U0001DF0A"}, {0x107BA, "\U0001DF1E"},
    {0x1D15E, "\U0001D157\U0001D165"}, {0x1D15F, "\U0001D158\U0001D165"}, {0x1D160, "\U0001D158\U0001D165\U0001D16E"},
    {0x1D161, "\U0001D158\U0001D165\U0001D16F"}, {0x1D162, "\U0001D158\U0001D165\U0001D170"},
    {0x1D163, "\U0001D158\U0001D165\U0001D171"}, {0x1D164, "\U0001D158\U0001D165\U0001D172"}, {0x1D173, ""},
    {0x1D174, ""}, {0x1D175, ""}, {0x1D176, ""}, {0x1D177, ""}, {0x1D178, ""}, {0x1D179, ""}, {0x1D17A, ""},
    {0x1D1BB, "\U0001D1B9\U0001D165"}, {0x1D1BC, "\U0001D1BA\U0001D165"}, {0x1D1BD, "\U0001D1B9\U0001D165\U0001D16E"},
    {0x1D1BE, "\U0001D1BA\U0001D165\U0001D16E"}, {0x1D1BF, "\U0001D1B9\U0001D165\U0001D16F"},
    {0x1D1C0, "\U0001D1BA\U0001D165\U0001D16F"}, {0x1D6C1, "\u2207"}, {0x1D6DB, "\u2202"}, {0x1D6FB, "\u2207"},
    {0x1D715, "\u2202"}, {0x1D735, "\u2207"}, {0x1D74F, "\u2202"}, {0x1D76F, "\u2207"}, {0x1D789, "\u2202"},
    {0x1D7A9, "\u2207"}, {0x1D7C3, "\u2202"}, {0x1E047, "\u044B"}, {0x1E048, "\u044D"}, {0x1E049, "\u044E"},
    {0x1E04A, "\uA689"}, {0x1E04B, "\u04D9"}, {0x1E04C, "\u0456"}, {0x1E04D, "\u0458"}, {0x1E04E, "\u04E9"},
    {0x1E04F, "\u04AF"}, {0x1E050, "\u04CF"}, {0x1E05A, "\u043A"}, {0x1E05B, "\u043B"}, {0x1E05C, "\u043E"},
    {0x1E05D, "\u043F"}, {0x1E05E, "\u0441"}, {0x1E065, "\u044A"}, {0x1E066, "\u044B"}, {0x1E067, "\u0491"},
    {0x1E068, "\u0456"}, {0x1E069, "\u0455"}, {0x1E06A, "\u045F"}, {0x1E06B, "\u04AB"}, {0x1E06C, "\uA651"},
    {0x1E06D, "\u04B1"}, {0x1F12A, "\u3014s\u3015"}, {0x1F240, "\u3014\u672C\u3015"}, {0x1F241, "\u3014\u4E09\u3015"},
    {0x1F242, "\u3014\u4E8C\u3015"}, {0x1F243, "\u3014\u5B89\u3015"}, {0x1F244, "\u3014\u70B9\u3015"},
    {0x1F245, "\u3014\u6253\u3015"}, {0x1F246, "\u3014\u76D7\u3015"}, {0x1F247, "\u3014\u52DD\u3015"},
    {0x1F248, "\u3014\u6557\u3015"}, {0x2F868, "\u36FC"}, {0x2F874, "\u5F53"}, {0x2F91F, "\U000243AB"},
    {0x2F95F, "\u7AEE"}, {0x2F9BF, "\u45D7"},
    // clang-format on
};

/* Symbols that compose with U+0338. */
static const struct {
    uint32_t plain;
    uint32_t negated;
} negated[] = {
    // clang-format off
    {0x2190, 0x219A}, {0x2192, 0x219B}, {0x2194, 0x21AE}, {0x21D0, 0x21CD}, {0x21D2, 0x21CF}, {0x21D4, 0x21CE},
    {0x2203, 0x2204}, {0x2208, 0x2209}, {0x220B, 0x220C}, {0x2223, 0x2224}, {0x2225, 0x2226}, {0x223C, 0x2241},
    {0x2243, 0x2244}, {0x2245, 0x2247}, {0x2248, 0x2249}, {0x224D, 0x226D}, {0x2261, 0x2262}, {0x2264, 0x2270},
    {0x2265, 0x2271}, {0x2272, 0x2274}, {0x2273, 0x2275}, {0x2276, 0x2278}, {0x2277, 0x2279}, {0x227A, 0x2280},
    {0x227B, 0x2281}, {0x227C, 0x22E0}, {0x227D, 0x22E1}, {0x2282, 0x2284}, {0x2283, 0x2285}, {0x2286, 0x2288},
    {0x2287, 0x2289}, {0x2291, 0x22E2}, {0x2292, 0x22E3}, {0x22A2, 0x22AC}, {0x22A8, 0x22AD}, {0x22A9, 0x22AE},
    {0x22AB, 0x22AF}, {0x22B2, 0x22EA}, {0x22B3, 0x22EB}, {0x22B4, 0x22EC}, {0x22B5, 0x22ED},
    // clang-format on
};

/* Stand-ins of each class: code points that libidn2 takes, that nothing maps to, and that compose with nothing. */
enum { STAND_IN_L = 0x4E00, STAND_IN_R = 0x05D0, STAND_IN_A = 0x0660, STAND_IN_O = 0xA717, STAND_IN_M = 0x0316 };

/* ---- code points ---- */

/* A string of code points. It grows in its pool; without one, it has room for `size`. */
typedef struct {
    apr_pool_t *pool;
    uint32_t *cp;
    size_t len;
    size_t size;
} text;

static text text_create(apr_pool_t *pool, size_t size)
{
    text t = {.pool = pool, .cp = apr_palloc(pool, (size + 1) * sizeof(uint32_t)), .len = 0, .size = size + 1};
    return t;
}

/* False only when there is no room and no pool. */
static bool text_append(text *t, uint32_t c)
{
    if (t->len == t->size) {
        if (t->pool == NULL) {
            return false;
        }
        uint32_t *cp = apr_palloc(t->pool, 2 * t->size * sizeof(uint32_t));
        memcpy(cp, t->cp, t->len * sizeof(uint32_t));
        t->cp = cp;
        t->size *= 2;
    }
    t->cp[t->len++] = c;
    return true;
}

static bool is_ascii_letter_or_digit(uint32_t c)
{
    return c < 0x80 && (url_is_alpha((int)c) || url_is_digit((int)c));
}

static bool is_joiner(uint32_t c)
{
    return c == 0x200C || c == 0x200D;
}

/* ---- Punycode, RFC 3492 ---- */

enum { BASE = 36, T_MIN = 1, T_MAX = 26, SKEW = 38, DAMP = 700, INITIAL_BIAS = 72, INITIAL_N = 128 };

static uint32_t punycode_adapt(uint32_t delta, uint32_t points, bool first)
{
    uint32_t k = 0;

    delta = first ? delta / DAMP : delta / 2;
    delta += delta / points;
    for (; delta > (BASE - T_MIN) * T_MAX / 2; k += BASE) {
        delta /= BASE - T_MIN;
    }
    return k + (BASE - T_MIN + 1) * delta / (delta + SKEW);
}

static uint32_t punycode_threshold(uint32_t k, uint32_t bias)
{
    if (k <= bias) {
        return T_MIN;
    }
    return k >= bias + T_MAX ? T_MAX : k - bias;
}

/* Append the encoded label. It has at most LABEL_MAX_CODE_POINTS, so delta cannot overflow: 0x10FFFF * 1001 < 2^32. */
static void punycode_encode(url_buffer *b, const uint32_t *label, size_t len)
{
    uint32_t n = INITIAL_N;
    uint32_t delta = 0;
    uint32_t bias = INITIAL_BIAS;
    uint32_t basic = 0;

    for (size_t i = 0; i < len; i++) {
        if (label[i] < INITIAL_N) {
            url_buffer_append_char(b, (char)label[i]);
            basic++;
        }
    }
    if (basic > 0) {
        url_buffer_append_char(b, '-');
    }
    for (uint32_t done = basic; done < len; n++) {
        uint32_t next = UINT32_MAX;
        for (size_t i = 0; i < len; i++) {
            next = label[i] >= n && label[i] < next ? label[i] : next;
        }
        delta += (next - n) * (done + 1);
        n = next;
        for (size_t i = 0; i < len; i++) {
            delta += label[i] < n ? 1 : 0;
            if (label[i] != n) {
                continue;
            }
            uint32_t q = delta;
            for (uint32_t k = BASE;; k += BASE) {
                uint32_t t = punycode_threshold(k, bias);
                uint32_t digit = q < t ? q : t + (q - t) % (BASE - t);
                url_buffer_append_char(b, (char)(digit < 26 ? 'a' + digit : '0' + digit - 26));
                if (q < t) {
                    break;
                }
                q = (q - t) / (BASE - t);
            }
            bias = punycode_adapt(delta, done + 1, done == basic);
            delta = 0;
            done++;
        }
        delta++;
    }
}

/* Decode `len` ASCII characters (without "xn--") and append them to `out`; false when they are not Punycode. */
static bool punycode_decode(text *out, const uint32_t *s, size_t len)
{
    uint32_t n = INITIAL_N;
    uint32_t i = 0;
    uint32_t bias = INITIAL_BIAS;
    size_t start = out->len;
    size_t in = 0;

    for (size_t j = len; j > 0; j--) {
        if (s[j - 1] == '-') {
            for (; in < j - 1; in++) {
                if (!text_append(out, s[in])) {
                    return false;
                }
            }
            in = j;
            break;
        }
    }
    while (in < len) {
        uint32_t old_i = i;
        uint32_t weight = 1;
        for (uint32_t k = BASE;; k += BASE) {
            uint32_t digit;
            if (in == len || s[in] >= 0x80) {
                return false;
            } else if (url_is_digit((int)s[in])) {
                digit = s[in] - '0' + 26;
            } else if (url_is_alpha((int)s[in])) {
                digit = (s[in] | 0x20U) - 'a';
            } else {
                return false;
            }
            in++;
            if (digit > (UINT32_MAX - i) / weight) {
                return false;
            }
            i += digit * weight;
            uint32_t t = punycode_threshold(k, bias);
            if (digit < t) {
                break;
            }
            if (weight > UINT32_MAX / (BASE - t)) {
                return false;
            }
            weight *= BASE - t;
        }
        uint32_t points = (uint32_t)(out->len - start) + 1;
        bias = punycode_adapt(i - old_i, points, old_i == 0);
        if (i / points > 0x10FFFF - n) {
            return false;
        }
        n += i / points;
        i %= points;
        if ((n >= 0xD800 && n <= 0xDFFF) || !text_append(out, n)) {
            return false;
        }
        uint32_t *at = out->cp + start + i;
        memmove(at + 1, at, (points - 1 - i) * sizeof(uint32_t));
        *at = n;
        i++;
    }
    return true;
}

/* ---- what libidn2 says ---- */

/* Put a question to libidn2: the domain `cp`, which libidn2 maps, normalises and checks.
 *
 * answer   appended: the domain in NFC (not for a label that was too long to encode); NULL: only the verdict matters
 *
 * Returns IDN2_OK or libidn2's error.
 */
static int ask(const uint32_t *cp, size_t len, text *answer)
{
    char *ascii = NULL;
    int rc = idn2_to_ascii_4i2(cp, len, &ascii, IDN2_NONTRANSITIONAL | IDN2_NO_ALABEL_ROUNDTRIP);

    if (rc == IDN2_OK && answer != NULL) {
        uint32_t s[IDN2_LABEL_MAX_LENGTH + 1];
        size_t n = strlen(ascii);
        bool fits = n <= IDN2_LABEL_MAX_LENGTH;
        for (size_t i = 0; fits && i < n; i++) {
            s[i] = (unsigned char)ascii[i];
        }
        if (fits && strncmp(ascii, "xn--", 4) == 0) {
            fits = punycode_decode(answer, s + 4, n - 4);
        } else {
            for (size_t i = 0; fits && i < n; i++) {
                fits = text_append(answer, s[i]);
            }
        }
        rc = fits ? IDN2_OK : IDN2_TOO_BIG_LABEL;
    }
    idn2_free(ascii);
    return rc;
}

/* Ask for `c` behind a letter that changes neither it nor the verdict on it, and leave the letter out of the answer. */
static int ask_behind(uint32_t letter, uint32_t c, text *answer)
{
    uint32_t question[2] = {letter, c};
    uint32_t room[20];
    text behind = {.cp = room, .len = 0, .size = sizeof(room) / sizeof(room[0])};
    int rc = ask(question, 2, &behind);

    for (size_t i = 1; rc == IDN2_OK && answer != NULL && i < behind.len; i++) {
        rc = text_append(answer, behind.cp[i]) ? IDN2_OK : IDN2_TOO_BIG_LABEL;
    }
    return rc;
}

static bool is_refusal(int rc)
{
    return rc == IDN2_DISALLOWED || rc == IDN2_UNASSIGNED;
}

/* The class of a code point that libidn2 refuses and UTS #46 takes as it is; 0 for one that is disallowed. */
static char class_of_refused(uint32_t c)
{
    size_t low = 0;
    size_t high = sizeof(refused_valid) / sizeof(refused_valid[0]);

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > refused_valid[middle].last) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    bool found = low < sizeof(refused_valid) / sizeof(refused_valid[0]) && c >= refused_valid[low].first;
    return found ? refused_valid[low].class : 0;
}

/* The mapping of a code point that libidn2 refuses: appends it and returns true, or returns false when there is none.
 */
static bool map_refused(uint32_t c, text *out)
{
    size_t low = 0;
    size_t high = sizeof(refused_mapped) / sizeof(refused_mapped[0]);

    for (size_t i = 0; i < sizeof(refused_shifted) / sizeof(refused_shifted[0]); i++) {
        if (c >= refused_shifted[i].first && c <= refused_shifted[i].last) {
            return text_append(out, c - refused_shifted[i].first + refused_shifted[i].to);
        }
    }
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > refused_mapped[middle].from) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == sizeof(refused_mapped) / sizeof(refused_mapped[0]) || refused_mapped[low].from != c) {
        return false;
    }
    const char *to = refused_mapped[low].to;
    for (size_t len = strlen(to); len > 0;) {
        uint32_t mapped;
        size_t taken = url_utf8_decode(to, len, &mapped);
        if (!text_append(out, mapped)) {
            return false;
        }
        to += taken;
        len -= taken;
    }
    return true;
}

/* Append what UTS #46 maps a code point to, which is nothing for an ignored one; false when it is disallowed. */
static bool map_code_point(uint32_t c, text *out)
{
    if (c < 0x80) {
        return text_append(out, (unsigned char)url_to_lower((char)c));
    }
    if (is_joiner(c)) {
        return text_append(out, c);
    }
    if (c == 0x1E9E) {
        return text_append(out, 0xDF); /* "ss" until Unicode 15.1 */
    }
    size_t before = out->len;
    int rc = ask(&c, 1, out);
    if (rc == IDN2_LEADING_COMBINING) {
        rc = ask_behind(STAND_IN_L, c, out);
    } else if (rc == IDN2_BIDI) {
        rc = ask_behind(STAND_IN_R, c, out);
    }
    if (rc == IDN2_OK) {
        return true;
    }
    out->len = before;
    if (map_refused(c, out)) {
        return true;
    }
    return is_refusal(rc) && class_of_refused(c) != 0 && text_append(out, c);
}

/* The class of a code point that was mapped: as in refused_valid. */
static char class_of(uint32_t c)
{
    if (c < 0x80) {
        return url_is_alpha((int)c) ? 'L' : url_is_digit((int)c) ? 'E' : 'O';
    }
    if (is_joiner(c)) {
        return 'O';
    }
    int rc = ask(&c, 1, NULL);
    if (rc == IDN2_LEADING_COMBINING) {
        return 'M';
    }
    if (is_refusal(rc)) {
        return class_of_refused(c);
    }
    if (ask_behind(STAND_IN_L, c, NULL) == IDN2_BIDI) {
        return rc == IDN2_BIDI ? 'A' : 'R';
    }
    uint32_t inside[3] = {STAND_IN_R, c, STAND_IN_R};
    if (ask(inside, 3, NULL) == IDN2_BIDI) {
        return 'L';
    }
    return ask(inside, 2, NULL) == IDN2_OK ? 'E' : 'O';
}

static uint32_t stand_in(char class)
{
    switch (class) {
    case 'L':
        return STAND_IN_L;
    case 'R':
        return STAND_IN_R;
    case 'A':
        return STAND_IN_A;
    case 'E':
        return '1';
    case 'M':
        return STAND_IN_M;
    default:
        return STAND_IN_O;
    }
}

/* ---- NFC ---- */

static bool is_mark(uint32_t c)
{
    if (c < 0x300) {
        return false; /* the first mark */
    }
    int rc = ask(&c, 1, NULL);
    return rc == IDN2_LEADING_COMBINING || (is_refusal(rc) && class_of_refused(c) == 'M');
}

/* The composition of two Hangul jamo, or of a syllable and a jamo; 0 when there is none. libidn2 knows this, but not
 * that a jamo alone is allowed, so it is no help here. */
static uint32_t compose_hangul(uint32_t a, uint32_t b)
{
    if (a >= 0x1100 && a < 0x1113 && b >= 0x1161 && b < 0x1176) {
        return 0xAC00 + ((a - 0x1100) * 21 + b - 0x1161) * 28;
    }
    if (a >= 0xAC00 && a < 0xD7A4 && (a - 0xAC00) % 28 == 0 && b > 0x11A7 && b < 0x11C3) {
        return a + b - 0x11A7;
    }
    return 0;
}

/* Append one character and its marks in NFC. */
static void compose(const uint32_t *cp, size_t len, text *out)
{
    size_t before = out->len;

    if (ask(cp, len, out) == IDN2_OK) {
        return;
    }
    out->len = before;
    for (size_t i = 0; len == 2 && cp[1] == 0x338 && i < sizeof(negated) / sizeof(negated[0]); i++) {
        if (negated[i].plain == cp[0]) {
            (void)text_append(out, negated[i].negated); /* it grows, here and below */
            return;
        }
    }
    /* The character is one that libidn2 refuses, and so composes with nothing: put the marks alone in order. */
    text question = text_create(out->pool, len);
    text answer = text_create(out->pool, len);
    for (size_t i = 0; i < len; i++) {
        (void)text_append(&question, i == 0 ? STAND_IN_L : cp[i]);
    }
    bool ordered = ask(question.cp, len, &answer) == IDN2_OK;
    const uint32_t *marks = ordered ? answer.cp : cp;
    size_t end = ordered ? answer.len : len;
    (void)text_append(out, cp[0]);
    for (size_t i = 1; i < end; i++) {
        (void)text_append(out, marks[i]);
    }
}

/* The text in NFC; each of its code points is one that UTS #46 maps to itself. */
static text normalise(apr_pool_t *pool, const text *in)
{
    text out = text_create(pool, in->len);

    for (size_t i = 0; i < in->len;) {
        size_t end = i + 1;
        while (end < in->len && is_mark(in->cp[end])) {
            end++;
        }
        if (end > i + 1) {
            compose(in->cp + i, end - i, &out);
        } else {
            uint32_t hangul = out.len > 0 ? compose_hangul(out.cp[out.len - 1], in->cp[i]) : 0;
            if (hangul != 0) {
                out.cp[out.len - 1] = hangul;
            } else {
                (void)text_append(&out, in->cp[i]); /* it grows */
            }
        }
        i = end;
    }
    return out;
}

/* ---- UTS #46 ---- */

/* Do the code points of a label that stood as xn-- map to themselves, and is it in NFC? */
static bool is_stable(apr_pool_t *pool, const text *label)
{
    text mapped = text_create(pool, 16);

    for (size_t i = 0; i < label->len; i++) {
        mapped.len = 0;
        if (!map_code_point(label->cp[i], &mapped) || mapped.len != 1 || mapped.cp[0] != label->cp[i] ||
            mapped.cp[0] == '.') {
            return false;
        }
    }
    text nfc = normalise(pool, label);
    return nfc.len == label->len && memcmp(nfc.cp, label->cp, nfc.len * sizeof(uint32_t)) == 0;
}

/* The bidi rule (RFC 5893) for a label without right-to-left characters, in a domain that has some elsewhere. */
static bool is_plain_ltr(const uint32_t *label, size_t len)
{
    while (len > 0 && class_of(label[len - 1]) == 'M') {
        len--;
    }
    if (len == 0) {
        return true;
    }
    char last = class_of(label[len - 1]);
    return class_of(label[0]) == 'L' && (last == 'L' || last == 'E');
}

/* Is this a right-to-left letter or an Arabic number? Unicode keeps these blocks for them. */
static bool is_rtl(uint32_t c)
{
    bool in_blocks = (c >= 0x590 && c < 0x900) || (c >= 0xFB1D && c < 0xFF00) || (c >= 0x10800 && c < 0x11000) ||
                     (c >= 0x1E800 && c < 0x1F000);
    char class = in_blocks ? class_of(c) : 'O';

    return class == 'R' || class == 'A';
}

/* The rules for joiners and for right-to-left labels. */
static bool check_context(apr_pool_t *pool, const uint32_t *label, size_t len)
{
    text question = text_create(pool, len);
    bool arabic_number = false;
    bool european_number = false;

    for (size_t i = 0; i < len; i++) {
        uint32_t c = label[i];
        char class = class_of(c);
        arabic_number = arabic_number || class == 'A';
        european_number = european_number || class == 'E';
        if (!is_joiner(c) && !is_ascii_letter_or_digit(c) && (c < 0x80 || is_refusal(ask(&c, 1, NULL)))) {
            c = stand_in(class);
        }
        (void)text_append(&question, c); /* it grows */
    }
    if (arabic_number && european_number) {
        return false; /* rule 4, which libidn2 does not see when there is one number of each kind */
    }
    /* libidn2 looks at the rules first and encodes last, so a label that is only too long has kept the rules. */
    int rc = ask(question.cp, question.len, NULL);
    return rc == IDN2_OK || rc == IDN2_TOO_BIG_LABEL || rc == IDN2_TOO_BIG_DOMAIN || rc == IDN2_PUNYCODE_BIG_OUTPUT;
}

/* Check what the validity criteria ask of a label as a whole: no mark at its start, and its context. Sets `rtl` when
 * the label has right-to-left characters. */
static bool check_label(apr_pool_t *pool, const uint32_t *label, size_t len, bool *rtl)
{
    bool has_joiner = false;
    bool has_rtl = false;

    if (len > 0 && is_mark(label[0])) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        has_joiner = has_joiner || is_joiner(label[i]);
        has_rtl = has_rtl || is_rtl(label[i]);
    }
    *rtl = *rtl || has_rtl;
    return (!has_joiner && !has_rtl) || check_context(pool, label, len);
}

static size_t label_length(const text *domain, size_t start)
{
    size_t end = start;

    while (end < domain->len && domain->cp[end] != '.') {
        end++;
    }
    return end - start;
}

/* Check one label and append its ASCII form. */
static bool label_to_ascii(apr_pool_t *pool, const uint32_t *label, size_t len, bool *rtl, url_buffer *ascii)
{
    static const uint32_t prefix[4] = {'x', 'n', '-', '-'};
    bool encoded = len >= 4 && memcmp(label, prefix, sizeof(prefix)) == 0;
    bool plain = true;
    text decoded;

    for (size_t i = 0; i < len; i++) {
        plain = plain && label[i] < 0x80;
    }
    if (plain && !encoded) {
        for (size_t i = 0; i < len; i++) {
            url_buffer_append_char(ascii, (char)label[i]);
        }
        return true;
    }
    if (len > LABEL_MAX_CODE_POINTS) {
        return false;
    }
    if (encoded) {
        decoded = text_create(pool, len);
        if (!plain || !punycode_decode(&decoded, label + 4, len - 4) || !is_stable(pool, &decoded)) {
            return false;
        }
        plain = true;
        for (size_t i = 0; i < decoded.len; i++) {
            plain = plain && decoded.cp[i] < 0x80;
        }
        if (plain) {
            return false; /* nothing that needed encoding */
        }
        label = decoded.cp;
        len = decoded.len;
    }
    if (!check_label(pool, label, len, rtl)) {
        return false;
    }
    url_buffer_append(ascii, "xn--", 4);
    punycode_encode(ascii, label, len);
    return true;
}

/* The bidi rule for the labels of a domain that has a right-to-left one, but are not right-to-left themselves. `ascii`
 * is the domain as label_to_ascii() made it. */
static bool check_ltr_labels(apr_pool_t *pool, const url_buffer *ascii)
{
    for (size_t start = 0; start < ascii->len;) {
        const char *s = ascii->s + start;
        const char *dot = memchr(s, '.', ascii->len - start);
        size_t len = dot != NULL ? (size_t)(dot - s) : ascii->len - start;
        text plain = text_create(pool, len);
        text decoded = text_create(pool, len);
        text *label = &plain;
        bool rtl = false;

        for (size_t i = 0; i < len; i++) {
            (void)text_append(&plain, (unsigned char)s[i]); /* it grows */
        }
        if (len > 4 && memcmp(s, "xn--", 4) == 0 && punycode_decode(&decoded, plain.cp + 4, len - 4)) {
            label = &decoded;
        }
        for (size_t i = 0; i < label->len; i++) {
            rtl = rtl || is_rtl(label->cp[i]);
        }
        if (!rtl && !is_plain_ltr(label->cp, label->len)) {
            return false;
        }
        start += len + 1;
    }
    return true;
}

/* Unicode ToASCII of a domain that is not ASCII. */
bool url_domain_to_ascii(apr_pool_t *pool, const char *domain, size_t len, url_buffer *ascii)
{
    text mapped = text_create(pool, len);
    bool rtl = false;

    for (size_t i = 0; i < len;) {
        uint32_t c;
        i += url_utf8_decode(domain + i, len - i, &c);
        if (!map_code_point(c, &mapped)) {
            return false;
        }
    }
    text nfc = normalise(pool, &mapped);
    for (size_t start = 0; start <= nfc.len;) {
        size_t label_len = label_length(&nfc, start);
        if (!label_to_ascii(pool, nfc.cp + start, label_len, &rtl, ascii)) {
            return false;
        }
        start += label_len + 1;
        if (start <= nfc.len) {
            url_buffer_append_char(ascii, '.');
        }
    }
    return !rtl || check_ltr_labels(pool, ascii);
}
