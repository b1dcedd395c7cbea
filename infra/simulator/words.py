"""Sentences, names and tags of simulated authors, by language tag as Mastodon sends it."""

SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The fog took its time leaving the harbour this morning.",
        "Finally fixed the bicycle, and only two screws are left over.",
        "Does anybody else keep a notebook just for birds?",
        "Bread is in the oven & the whole stairwell knows it.",
        "Three buses at once, then nothing for forty minutes.",
        "If x < y then the loop ends; it took me a day to see that.",
        "A neighbour's cat has decided that our balcony is hers.",
        "Reading the manual turned out to be the fastest way after all.",
        "The tomatoes are late, but what a colour!",
        "Small victories: the tests are green and the tea is hot.",
    ),
    "de": (
        "Der Nebel hängt noch über dem Hafen, und die Fähre kommt später.",
        "Heute früh ein Rotkehlchen am Fenster gehört.",
        "Wer hat schon wieder den großen Schraubenzieher verlegt?",
        "Das Brot ist gelungen, die Küche leider weniger.",
        "Übermorgen soll es schneien; die Räder stehen im Keller.",
        "Nach drei Stunden war es doch nur ein Tippfehler.",
        "Grüße aus dem Zug, der ausnahmsweise pünktlich ist.",
    ),
    "fr": (
        "La brume s'est levée sur le port vers dix heures.",
        "Quelqu'un connaît-il une bonne recette de pain de seigle ?",
        "Le chat du voisin a encore élu domicile sur le balcon.",
        "Trois bus d'un coup, puis plus rien pendant une demi-heure.",
        "J'ai enfin compris pourquoi la boucle ne s'arrêtait pas.",
        "Il pleut, mais les tomates sont contentes.",
    ),
    "es": (
        "La niebla tardó en irse del puerto esta mañana.",
        "¿Alguien más lleva un cuaderno solo para los pájaros?",
        "El pan está en el horno y ya lo sabe toda la escalera.",
        "Por fin arreglé la bicicleta, aunque sobran dos tornillos.",
        "Mañana dicen que nieva; habrá que buscar los guantes.",
    ),
    "pt-BR": (
        "A neblina demorou a sair do porto hoje cedo.",
        "Consertei a bicicleta e só sobraram dois parafusos.",
        "O pão está no forno e o prédio inteiro já sabe.",
        "Alguém mais anota os passarinhos que vê?",
    ),
    "nl": (
        "De mist bleef vanochtend lang boven de haven hangen.",
        "Het brood staat in de oven en het hele trappenhuis weet het.",
        "Wie heeft de grote schroevendraaier gezien?",
        "Drie bussen tegelijk en daarna veertig minuten niets.",
    ),
    "ja": (
        "今朝は港の霧がなかなか晴れなかった。",
        "自転車をやっと直したけれど、ねじが二本余った。",
        "パンを焼いています。いい匂いがします。",
        "となりの猫がまたベランダに来ている。",
        "三時間かかって、原因はただの打ち間違いでした。",
    ),
    "zh-CN": (
        "今天早上港口的雾很久才散。",
        "自行车终于修好了，只是多出来两个螺丝。",
        "面包在烤箱里，整个楼道都闻到了。",
        "邻居家的猫又来我们的阳台了。",
    ),
}

LANGUAGES: tuple[tuple[str | None, int], ...] = (
    ("en", 46),
    ("de", 16),
    ("fr", 8),
    ("es", 7),
    ("ja", 7),
    ("pt-BR", 4),
    ("nl", 4),
    ("zh-CN", 4),
    (None, 4),
)
"""Language tags with their weights; None: the server sends no language."""

HANDLES = (
    "fern", "moss", "willow", "heron", "pebble", "clover", "juniper", "otter", "thistle", "wren",
    "bramble", "cedar", "lichen", "marten", "nettle", "osprey", "plover", "reed", "sorrel", "tansy",
    "vole", "yarrow", "alder", "birch", "curlew", "dunlin", "elder", "finch", "gorse", "hazel",
)  # fmt: skip
BOT_HANDLES = ("tide_table", "weather_mast", "bus_times", "word_of_the_day")

APPS: tuple[tuple[tuple[str, str | None] | None, int], ...] = (
    (("Web", None), 45),
    (("Mastodon for Android", "https://app.joinmastodon.org/android"), 18),
    (("Mastodon for iOS", "https://app.joinmastodon.org/ios"), 14),
    (("Tusky", "https://tusky.app"), 10),
    (("Elk", "https://elk.zone"), 6),
    (None, 7),
)
"""Applications (name, website) with their weights; None: the author hides it."""

BOT_APP: tuple[str, str | None] = ("noticeboard-bot", "https://noticeboard.example")

TAGS = (
    "Birds", "Bread", "Fog", "Harbour", "Cats", "Python", "Garden", "Trains", "Silent_Sunday",
    "写真", "Straßenbahn",
)  # fmt: skip
EMOJI = ("🌱", "🐦", "🍞", "🚲", "☕", "🐈‍⬛")
CUSTOM_EMOJI = ("blobcat", "verified_gull")
WARNINGS = ("food", "politics, mild", "Essen", "spoiler: chapter 3")
LINKS = (
    "https://notes.example/2026/the-long-way-round-the-harbour?ref=feed",
    "https://almanac.example/tides",
    "https://recipes.example/rye-bread-in-two-days",
)
PROFILE_FIELDS: tuple[tuple[str, str | None], ...] = (
    ("Home", "https://{}.example"),
    ("Pronouns", None),
    ("Photographs", "https://pictures.example/people/{}/harbours-and-birds"),
    ("Code", "https://code.example/{}"),
)
"""Profile fields: a label, and an address with the author's name (None: not a link)."""
