/** Names as people count: n2 before n10. They are sorted when they have changed, not for everybody who asks. */
export class NaturalOrder {
  #names: readonly string[] = [];
  #sorted: readonly string[] = [];

  of(names: readonly string[]): readonly string[] {
    const known = this.#names;
    if (known.length !== names.length || known.some((name, i) => name !== names[i])) {
      const { compare } = new Intl.Collator("en", { numeric: true });
      this.#names = names;
      this.#sorted = [...names].sort(compare);
    }
    return this.#sorted;
  }
}
