/** What is kept: the table of code.h, who may have how much of it, and how it goes. */
#ifndef SUBLET_LAUNCH_CODE_STORE_H
#define SUBLET_LAUNCH_CODE_STORE_H

#include "launch/code.h"

/** A memfd of a fixed size that may be executed; -1 with errno. */
int code_memfd(uint64_t size);
/** Can its content never change again? Asked of memfds alone. */
bool code_is_sealed(int fd);
/** Another opening of a memfd, for reading; -1 with errno. */
int code_open_again(int fd);
/** Closes memfds that hold so many bytes; many are freed in a process of their own, so that nobody waits for it. */
void code_free(const int *fds, size_t count, uint64_t bytes);

/** The library of this owner with this hash, or NULL. */
struct code_entry *code_find(struct code_cache *cache, uid_t owner, const uint8_t *hash);
/** The most that one owner may have of something. */
uint64_t code_half(uint64_t value);
/** A free entry, once there is room for so many bytes more of this owner; NULL when there will be none. */
struct code_entry *code_make_room(struct starter *starter, uid_t owner, uint64_t bytes);
/** Keeps what a helper has found right; false when something is in the way, or it is kept already. */
bool code_keep(struct code_cache *cache, struct code_entry *entry);
void code_forget(struct code_entry *entry);
/** Nothing of it is found any more; what is in use counts until it is not, which is looked at every few seconds. */
void code_drop_kept(struct starter *starter);
/** Frees what was dropped and is not in use any more. */
void code_look(struct starter *starter, uint64_t now);
/** What lies above new limits goes, as far as it is not in use. */
void code_fit(struct starter *starter);
/** Bytes and entries, those that were dropped and are in use among them. */
struct code_share {
    uint64_t bytes, entries;
};
bool code_figures_open(struct code_cache *cache);
/** Sets what the figures say of now. */
void code_show(struct starter *starter);
/** NULL: of all owners. */
struct code_share code_share(const struct code_cache *cache, const uid_t *owner);

#endif
