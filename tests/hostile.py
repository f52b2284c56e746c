"""Names and words that try to be something else: markup, links, tables, control and direction characters."""

SCRIPT = '<script>alert(1)</script><img src=x onerror=alert(2)><a href="javascript:alert(3)">x</a>'
MARKDOWN = "[x](javascript:alert(4)) ![y](http://evil.example/p.png) **b** `c` | d | # e <!-- ~~f~~ $g$"
ADDRESS = "see https://evil.example/q or www.evil.example or me@evil.example"
MARKS = "a\u202eb\u2066c\u200fd\x00e\x1bf\ufffeg\u0301\u0301\u0301\u0301\u0301h"
CLOSE = "]]></title></svg></style></table>\"' onload=alert(5) x='"
LONG = "W" * 6_000
LINES = "- one\n# two\n| three |\n---"
ALL = (SCRIPT, MARKDOWN, ADDRESS, MARKS, CLOSE, LONG, LINES, "1. first", "", " ", "שלום 12", "因果" * 60)
