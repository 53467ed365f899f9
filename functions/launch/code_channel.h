/** What a guest asks and is answered (wire/code.h), and the memfds that it was given to fill. */
#ifndef SUBLET_LAUNCH_CODE_CHANNEL_H
#define SUBLET_LAUNCH_CODE_CHANNEL_H

#include "launch/code.h"

enum code_heard { CODE_NOTHING, CODE_ASKED, CODE_BROKEN };

/**
 * Takes the next question of a guest, as often as it may ask, and the path that follows a CODE_PATH (room for
 * CONTROL_PATH_MAX + 1). BROKEN: it is not to be heard any more.
 */
enum code_heard code_hear(struct starter *starter, struct guest *guest, struct code_ask *ask, char *path);
/** One that the guest does not take, since it does not read, is lost: for its executor that is a miss. fd -1: none. */
void code_answer(const struct guest *guest, enum code_operation operation, uint32_t id, sublet_status status, int fd);
/** Hears it again, or not for a while. */
void code_listen(struct starter *starter, struct guest *guest, bool on);
/** Is it not heard? When it is to be heard again. */
bool code_is_late(const struct code_channel *channel, uint64_t *at_out);

struct code_offer *code_offer_find(struct guest *guest, uint32_t id);
/** A memfd for a guest to fill, in place of its oldest; -1 when it has too many under way. */
int code_offer_begin(struct guest *guest, const struct code_ask *ask);
void code_offer_drop(struct code_offer *offer);
void code_offers_drop(struct code_channel *channel);

#endif
