/* js_regexp_property.c - the Unicode properties that ECMAScript and PCRE2 10.42 both have, with the same meaning.
 *
 * ECMAScript's names are exact (case and underscores count) and are written here with all their aliases, one property a
 * word, after Unicode's PropertyValueAliases.txt and ECMA-262's table of binary properties. PCRE2 10.42 knows Unicode
 * 14, so newer scripts are missing. Left out because PCRE2 answers otherwise than Unicode 14: Bidi_Mirrored, and the
 * script extensions Common and Inherited. Left out because PCRE2 lacks it: Changes_When_NFKC_Casefolded.
 */
#include "js_regexp_internal.h"

#include <apr_strings.h>

static const char general_categories[] =
    "C/Other Cc/Control Cf/Format Cn/Unassigned Co/Private_Use Cs/Surrogate L/Letter LC/Cased_Letter "
    "Ll/Lowercase_Letter Lm/Modifier_Letter Lo/Other_Letter Lt/Titlecase_Letter Lu/Uppercase_Letter "
    "M/Mark/Combining_Mark Mc/Spacing_Mark Me/Enclosing_Mark Mn/Nonspacing_Mark N/Number Nd/Decimal_Number "
    "Nl/Letter_Number No/Other_Number P/Punctuation Pc/Connector_Punctuation Pd/Dash_Punctuation "
    "Pe/Close_Punctuation Pf/Final_Punctuation Pi/Initial_Punctuation Po/Other_Punctuation Ps/Open_Punctuation "
    "S/Symbol Sc/Currency_Symbol Sk/Modifier_Symbol Sm/Math_Symbol So/Other_Symbol Z/Separator Zl/Line_Separator "
    "Zp/Paragraph_Separator Zs/Space_Separator ";

static const char scripts[] =
    "Adlam/Adlm Caucasian_Albanian/Aghb Ahom Arabic/Arab Imperial_Aramaic/Armi Armenian/Armn Avestan/Avst "
    "Balinese/Bali Bamum/Bamu Bassa_Vah/Bass Batak/Batk Bengali/Beng Bhaiksuki/Bhks Bopomofo/Bopo Brahmi/Brah "
    "Braille/Brai Buginese/Bugi Buhid/Buhd Chakma/Cakm Canadian_Aboriginal/Cans Carian/Cari Cham Cherokee/Cher "
    "Chorasmian/Chrs Coptic/Copt/Qaac Cypro_Minoan/Cpmn Cypriot/Cprt Cyrillic/Cyrl Devanagari/Deva Dives_Akuru/Diak "
    "Dogra/Dogr Deseret/Dsrt Duployan/Dupl Egyptian_Hieroglyphs/Egyp Elbasan/Elba Elymaic/Elym Ethiopic/Ethi "
    "Georgian/Geor Glagolitic/Glag Gunjala_Gondi/Gong Masaram_Gondi/Gonm Gothic/Goth Grantha/Gran Greek/Grek "
    "Gujarati/Gujr Gurmukhi/Guru Hangul/Hang Han/Hani Hanunoo/Hano Hatran/Hatr Hebrew/Hebr Hiragana/Hira "
    "Anatolian_Hieroglyphs/Hluw Pahawh_Hmong/Hmng Nyiakeng_Puachue_Hmong/Hmnp Old_Hungarian/Hung Old_Italic/Ital "
    "Javanese/Java Kayah_Li/Kali Katakana/Kana Kharoshthi/Khar Khmer/Khmr Khojki/Khoj Khitan_Small_Script/Kits "
    "Kannada/Knda Kaithi/Kthi Tai_Tham/Lana Lao/Laoo Latin/Latn Lepcha/Lepc Limbu/Limb Linear_A/Lina Linear_B/Linb "
    "Lisu Lycian/Lyci Lydian/Lydi Mahajani/Mahj Makasar/Maka Mandaic/Mand Manichaean/Mani Marchen/Marc "
    "Medefaidrin/Medf Mende_Kikakui/Mend Meroitic_Cursive/Merc Meroitic_Hieroglyphs/Mero Malayalam/Mlym Modi "
    "Mongolian/Mong Mro/Mroo Meetei_Mayek/Mtei Multani/Mult Myanmar/Mymr Nandinagari/Nand Old_North_Arabian/Narb "
    "Nabataean/Nbat Newa Nko/Nkoo Nushu/Nshu Ogham/Ogam Ol_Chiki/Olck Old_Turkic/Orkh Oriya/Orya Osage/Osge "
    "Osmanya/Osma Old_Uyghur/Ougr Palmyrene/Palm Pau_Cin_Hau/Pauc Old_Permic/Perm Phags_Pa/Phag "
    "Inscriptional_Pahlavi/Phli Psalter_Pahlavi/Phlp Phoenician/Phnx Miao/Plrd Inscriptional_Parthian/Prti "
    "Rejang/Rjng Hanifi_Rohingya/Rohg Runic/Runr Samaritan/Samr Old_South_Arabian/Sarb Saurashtra/Saur "
    "SignWriting/Sgnw Shavian/Shaw Sharada/Shrd Siddham/Sidd Khudawadi/Sind Sinhala/Sinh Sogdian/Sogd "
    "Old_Sogdian/Sogo Sora_Sompeng/Sora Soyombo/Soyo Sundanese/Sund Syloti_Nagri/Sylo Syriac/Syrc Tagbanwa/Tagb "
    "Takri/Takr Tai_Le/Tale New_Tai_Lue/Talu Tamil/Taml Tangut/Tang Tai_Viet/Tavt Telugu/Telu Tifinagh/Tfng "
    "Tagalog/Tglg Thaana/Thaa Thai Tibetan/Tibt Tirhuta/Tirh Tangsa/Tnsa Toto Ugaritic/Ugar Vai/Vaii Vithkuqi/Vith "
    "Warang_Citi/Wara Wancho/Wcho Old_Persian/Xpeo Cuneiform/Xsux Yezidi/Yezi Yi/Yiii Zanabazar_Square/Zanb "
    "Inherited/Zinh/Qaai Common/Zyyy Unknown/Zzzz ";

static const char binary_properties[] =
    "ASCII ASCII_Hex_Digit/AHex Alphabetic/Alpha Any Bidi_Control/Bidi_C Case_Ignorable/CI Cased "
    "Changes_When_Casefolded/CWCF Changes_When_Casemapped/CWCM Changes_When_Lowercased/CWL "
    "Changes_When_Titlecased/CWT Changes_When_Uppercased/CWU Dash Default_Ignorable_Code_Point/DI Deprecated/Dep "
    "Diacritic/Dia Emoji Emoji_Component/EComp Emoji_Modifier/EMod Emoji_Modifier_Base/EBase "
    "Emoji_Presentation/EPres Extended_Pictographic/ExtPict Extender/Ext Grapheme_Base/Gr_Base "
    "Grapheme_Extend/Gr_Ext Hex_Digit/Hex IDS_Binary_Operator/IDSB IDS_Trinary_Operator/IDST ID_Continue/IDC "
    "ID_Start/IDS Ideographic/Ideo Join_Control/Join_C Logical_Order_Exception/LOE Lowercase/Lower Math "
    "Noncharacter_Code_Point/NChar Pattern_Syntax/Pat_Syn Pattern_White_Space/Pat_WS Quotation_Mark/QMark Radical "
    "Regional_Indicator/RI Sentence_Terminal/STerm Soft_Dotted/SD Terminal_Punctuation/Term Unified_Ideograph/UIdeo "
    "Uppercase/Upper Variation_Selector/VS White_Space/space XID_Continue/XIDC XID_Start/XIDS ";

/* The first alias of the word of `table` that has `name` among its aliases; NULL when there is none. */
static const char *canonical(apr_pool_t *pool, const char *table, const char *name)
{
    const char *word = table, *at = table;
    size_t len = strlen(name);

    while (*at != '\0') {
        size_t alias = strcspn(at, "/ ");
        if (alias == len && memcmp(at, name, len) == 0) {
            return apr_pstrmemdup(pool, word, strcspn(word, "/ "));
        }
        at += alias;
        if (*at == ' ') {
            word = at + 1;
        }
        at++;
    }
    return NULL;
}

static const char *general_category(apr_pool_t *pool, const char *name)
{
    const char *found = canonical(pool, general_categories, name);

    return found != NULL && strcmp(found, "LC") == 0 ? "L&" : found;
}

const char *js_property(apr_pool_t *pool, const char *name, const char *value)
{
    const char *found;

    if (value == NULL) {
        if (strcmp(name, "Assigned") == 0) {
            return "^Cn";
        }
        found = general_category(pool, name);
        return found != NULL ? found : canonical(pool, binary_properties, name);
    }
    if (strcmp(name, "General_Category") == 0 || strcmp(name, "gc") == 0) {
        return general_category(pool, value);
    }
    found = canonical(pool, scripts, value);
    if (found == NULL) {
        return NULL;
    }
    if (strcmp(name, "Script") == 0 || strcmp(name, "sc") == 0) {
        return apr_pstrcat(pool, "sc:", found, NULL);
    }
    if ((strcmp(name, "Script_Extensions") == 0 || strcmp(name, "scx") == 0) && strcmp(found, "Common") != 0 &&
        strcmp(found, "Inherited") != 0) {
        return apr_pstrcat(pool, "scx:", found, NULL);
    }
    return NULL;
}
