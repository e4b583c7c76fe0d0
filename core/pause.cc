// In both builds of the library, always linked, and the same symbol: a binary
// that has both does not link. (It would break the one-definition rule, and
// nobody would be told.)

namespace waitq {

extern const char kTheLibraryIsLinkedInOneBuildOnly[];
const char kTheLibraryIsLinkedInOneBuildOnly[] = "core";

}  // namespace waitq
