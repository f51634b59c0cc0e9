/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * A terminal whose PACE and secure messaging are those of OpenPACE (libeac), for a card that shares no code with it.
 *
 *   terminal PIN HEADER:DATA:LE...
 *
 * Reads EF.CardAccess, runs PACE with the PIN, and sends each command given through the protected channel. Commands go to
 * the standard output as lines of hex digits, answers come on the standard input in the same way. After each command of
 * the caller it prints "= STATUS DATA", both as they are inside the channel.
 */
#include <eac/eac.h>
#include <eac/pace.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    unsigned char bytes[1024];
    size_t len;
} Text;

static void fail(const char *what)
{
    fprintf(stderr, "terminal: %s\n", what);
    exit(1);
}

#define REQUIRE(condition) do { if (!(condition)) fail(#condition); } while (0)

static void add(Text *text, const void *bytes, size_t len)
{
    REQUIRE(len <= sizeof text->bytes - text->len);
    memcpy(text->bytes + text->len, bytes, len);
    text->len += len;
}

static void add_byte(Text *text, unsigned byte)
{
    unsigned char one = (unsigned char)byte;
    add(text, &one, 1);
}

static void add_object(Text *text, unsigned tag, const void *value, size_t len)
{
    REQUIRE(len < 256);
    add_byte(text, tag);
    if (len > 127)
        add_byte(text, 0x81);
    add_byte(text, (unsigned)len);
    add(text, value, len);
}

/* The value of a data object on the first level, or NULL. */
static const unsigned char *find(const unsigned char *at, size_t left, unsigned tag, size_t *len)
{
    while (left >= 2) {
        size_t head = at[1] == 0x81 ? 3 : 2;
        REQUIRE(left >= head && (head == 3 || at[1] < 128));
        *len = at[head - 1];
        REQUIRE(*len <= left - head);
        if (at[0] == tag)
            return at + head;
        at += head + *len;
        left -= head + *len;
    }
    return NULL;
}

static Text unhex(const char *digits)
{
    Text text = { .len = 0 };
    unsigned byte;
    for (; sscanf(digits, "%2x", &byte) == 1; digits += 2)
        add_byte(&text, byte);
    return text;
}

static void print_hex(const unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        printf("%02x", bytes[i]);
    printf("\n");
    fflush(stdout);
}

/* Sends a command; the answer is without its status word, which is returned. */
static unsigned exchange(const Text *command, Text *answer)
{
    char line[2 * sizeof answer->bytes + 2];
    print_hex(command->bytes, command->len);
    REQUIRE(fgets(line, sizeof line, stdin));
    *answer = unhex(line);
    REQUIRE(answer->len >= 2);
    answer->len -= 2;
    return answer->bytes[answer->len] << 8 | answer->bytes[answer->len + 1];
}

static BUF_MEM *buffer(const void *bytes, size_t len)
{
    BUF_MEM *made = BUF_MEM_new();
    REQUIRE(made && BUF_MEM_grow(made, len));
    memcpy(made->data, bytes, len);
    return made;
}

/* One GENERAL AUTHENTICATE: sends `value` under `tag`, gives the value under the next tag. */
static BUF_MEM *step(unsigned tag, const BUF_MEM *value, int last)
{
    Text inner = { .len = 0 }, command = { .len = 0 }, answer;
    const unsigned char *found;
    size_t len;
    if (value)
        add_object(&inner, tag, value->data, value->length);
    add(&command, last ? "\x00\x86\x00\x00" : "\x10\x86\x00\x00", 4);
    add_byte(&command, (unsigned)inner.len + 2);
    add_object(&command, 0x7c, inner.bytes, inner.len);
    add_byte(&command, 0);
    if (exchange(&command, &answer) != 0x9000)
        fail(last ? "the card refuses the token" : "the card refuses a step of PACE");
    found = find(answer.bytes, answer.len, 0x7c, &len);
    REQUIRE(found);
    found = find(found, len, value ? tag + 1 : 0x80, &len);
    REQUIRE(found);
    return buffer(found, len);
}

static EAC_CTX *pace(const char *pin)
{
    Text command = unhex("00b09c0000"), answer;
    EAC_CTX *ctx = EAC_CTX_new();
    PACE_SEC *secret = PACE_SEC_new(pin, strlen(pin), PACE_PIN);
    BUF_MEM *theirs;
    REQUIRE(ctx && secret);
    unsigned status = exchange(&command, &answer);
    REQUIRE(status == 0x9000 || status == 0x6282);
    REQUIRE(EAC_CTX_init_ef_cardaccess(answer.bytes, answer.len, ctx));
    /* id-PACE-ECDH-GM-AES-CBC-CMAC-128, the PIN */
    command = unhex("0022c1a40f800a04007f00070202040202830103");
    REQUIRE(exchange(&command, &answer) == 0x9000);
    REQUIRE(PACE_STEP2_dec_nonce(ctx, secret, step(0, NULL, 0)));
    theirs = step(0x81, PACE_STEP3A_generate_mapping_data(ctx), 0);
    REQUIRE(PACE_STEP3A_map_generator(ctx, theirs));
    theirs = step(0x83, PACE_STEP3B_generate_ephemeral_key(ctx), 0);
    REQUIRE(PACE_STEP3B_compute_shared_secret(ctx, theirs));
    REQUIRE(PACE_STEP3C_derive_keys(ctx));
    theirs = step(0x85, PACE_STEP3D_compute_authentication_token(ctx, theirs), 1);
    REQUIRE(PACE_STEP3D_verify_authentication_token(ctx, theirs) == 1);
    REQUIRE(EAC_CTX_set_encryption_ctx(ctx, EAC_ID_PACE));
    return ctx;
}

static BUF_MEM *padded(const EAC_CTX *ctx, const void *bytes, size_t len)
{
    BUF_MEM *made = EAC_add_iso_pad(ctx, buffer(bytes, len));
    REQUIRE(made);
    return made;
}

/* A command under secure messaging (TR-03110-3 F.2), and its answer. */
static void protected_command(const EAC_CTX *ctx, const char *told)
{
    Text header = unhex(told), data, expected, objects = { .len = 0 }, authentic = { .len = 0 };
    Text command = { .len = 0 }, answer;
    const char *colon = strchr(told, ':');
    const unsigned char *found, *mac;
    size_t len, mac_len;
    BUF_MEM *part;
    REQUIRE(header.len == 4 && colon && strchr(colon + 1, ':'));
    data = unhex(colon + 1);
    expected = unhex(strchr(colon + 1, ':') + 1);
    header.bytes[0] |= 0x0c;
    REQUIRE(EAC_increment_ssc(ctx));
    if (data.len) {
        Text value = { .len = 0 };
        part = EAC_encrypt(ctx, padded(ctx, data.bytes, data.len));
        REQUIRE(part);
        add_byte(&value, 1);
        add(&value, part->data, part->length);
        add_object(&objects, 0x87, value.bytes, value.len);
    }
    if (expected.len)
        add_object(&objects, 0x97, expected.bytes, expected.len);
    part = padded(ctx, header.bytes, header.len);
    add(&authentic, part->data, part->length);
    if (objects.len) {
        part = padded(ctx, objects.bytes, objects.len);
        add(&authentic, part->data, part->length);
    }
    part = EAC_authenticate(ctx, buffer(authentic.bytes, authentic.len));
    REQUIRE(part);
    add_object(&objects, 0x8e, part->data, part->length);
    add(&command, header.bytes, header.len);
    add_byte(&command, (unsigned)objects.len);
    add(&command, objects.bytes, objects.len);
    add_byte(&command, 0);
    unsigned status = exchange(&command, &answer);
    REQUIRE(EAC_increment_ssc(ctx));
    mac = find(answer.bytes, answer.len, 0x8e, &mac_len);
    REQUIRE(mac && mac_len == 8);
    part = padded(ctx, answer.bytes, (size_t)(mac - 2 - answer.bytes));
    if (EAC_verify_authentication(ctx, part, buffer(mac, mac_len)) != 1)
        fail("the answer has a wrong checksum");
    found = find(answer.bytes, answer.len, 0x99, &len);
    REQUIRE(found && len == 2 && (unsigned)(found[0] << 8 | found[1]) == status);
    printf("= %04x ", status);
    found = find(answer.bytes, answer.len, 0x87, &len);
    if (!found) {
        print_hex(NULL, 0);
        return;
    }
    REQUIRE(len > 1 && found[0] == 1);
    part = EAC_decrypt(ctx, buffer(found + 1, len - 1));
    REQUIRE(part);
    part = EAC_remove_iso_pad(part);
    REQUIRE(part);
    print_hex((unsigned char *)part->data, part->length);
}

int main(int argc, char **argv)
{
    REQUIRE(argc > 1);
    EAC_init();
    EAC_CTX *ctx = pace(argv[1]);
    for (int i = 2; i < argc; i++)
        protected_command(ctx, argv[i]);
    return 0;
}
