"""Names and words that try to be something else: markup, links, tables, control and direction characters."""

SCRIPT = '<script>alert(1)</script><img src=x onerror=alert(2)><a href="javascript:alert(3)">x</a>'
MARKDOWN = "[x](javascript:alert(4)) ![y](http://evil.example/p.png) **b** `c` | d | # e <!-- ~~f~~ $g$"
ADDRESS = "see https://evil.example/q or www.evil.example or me@evil.example"
MARKS = "a\u202eb\u2066c\u200fd\x00e\x1bf\ufffeg\u0301\u0301\u0301\u0301\u0301h"
CLOSE = "]]></title></svg></style></table>\"' onload=alert(5) x='"
LONG = "W" * 6_000
LINES = "- one\n# two\n| three |\n---"
ALL = (SCRIPT, MARKDOWN, ADDRESS, MARKS, CLOSE, LONG, LINES, "1. first", "", " ", "שלום 12", "因果" * 60)

# More of them, a kind a line: what a browser, Markdown, a terminal, a spreadsheet or a template would act on.
HANDLERS = (
    "<svg onload=alert(11)>",
    "<details open ontoggle=alert(12)>x</details>",
    "<body onpageshow=alert(13)><input autofocus onfocus=alert(14)>",
    "<iframe srcdoc='<script>alert(15)</script>'></iframe>",
    "<math><mi xlink:href='javascript:alert(16)'>x</mi></math>",
    "<style>@import 'http://evil.example/s.css'; body{display:none}</style>",
    "<link rel=stylesheet href=http://evil.example/l.css><base href=http://evil.example/>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<form action=http://evil.example/><button>send</button></form>",
    "<scr<script>ipt>alert(17)</scr</script>ipt>",
    '"><script src=//evil.example/x.js></script>',
    "'-alert(18)-'",
    "<img src='http://evil.example/pixel.gif' width=1>",
    "<video src=http://evil.example/v.mp4 autoplay></video>",
)
LINKS = (
    "[click](javascript:alert(21)) and [data](data:text/html,<script>alert(22)</script>)",
    "![pixel](http://evil.example/m.png) [![x](http://evil.example/n.png)](http://evil.example/)",
    "<javascript:alert(23)> <http://evil.example/auto>",
    "[ref]: http://evil.example/ref\n[ref]",
    "javascript:alert(24)",
    "//evil.example/protocol-relative",
    "file:///etc/passwd",
)
DIRECTIVES = (
    ":red[x] :material/home: :streamlit: :small[y] :green-badge[z]",
    "```\nfence\n``` `tick` ``two`` ~~~",
    "$\\href{javascript:alert(31)}{x}$ $$\\frac{1}{0}$$ \\(\\includegraphics{http://evil.example/t.png}\\)",
    "{{7*7}} ${7*7} #{7*7} <%= 7*7 %> {% raw %} {0} %s %n",
    '{"signal": "datum.x", "expr": "alert(32)"} datum[\'constructor\']',
)
ENTITIES = (
    "&lt;script&gt;alert(41)&lt;/script&gt;",
    "&#60;b&#62; &amp;amp; &#x3c;i&#x3e; &nbsp;&zwj;",
    "%3Cscript%3E %00 %2e%2e%2f",
)
CONTROLS = (
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example/\x07link\x1b]8;;\x07 \x1b[2J",
    "\u202eevil\u202c \u2067right\u2069 \u061c\u200e\u200f",
    "zero\u200bwidth\u200cjoin\u200dnon\ufeffbom\u2060word\u00adsoft",
    "nul\x00bell\x07back\x08delete\x7fnel\x85",
    "line\u2028separator\u2029paragraph\x0bvertical\x0cform",
    "private\ue000 noncharacter\ufdd0 tag\U000e0041\U000e007f",
)
FORMULAS = ('=HYPERLINK("http://evil.example/","x")', "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1;2)", "\t=1+1", "\r=2+2")
SHAPES = (
    "👩‍👩‍👧‍👦🏳️‍🌈👍🏽🇪🇺",
    "Z̷̨̛͖a̶l̸g̵o̷" + "\u0301" * 200,
    "مرحبا ١٢٣ abc שלום",
    "Ω≈ç√∫˜µ≤ ﷽ ꧅ 𒐫",
    "../../etc/passwd",
    "..\\..\\windows",
    "NaN",
    "null",
    "'; DROP TABLE motifs; --",
)
MORE = (*HANDLERS, *LINKS, *DIRECTIVES, *ENTITIES, *CONTROLS, *FORMULAS, *SHAPES)
EVERY = (*ALL, *MORE)
# Where they are held by JSON, as escapes; text in UTF-8 cannot hold them.
SURROGATES = ("high\ud800alone", "low\udfffalone")
LINE = "Z" * 1_000_000
