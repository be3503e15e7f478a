//! A category for an item of the demonstration, guessed from the words of its description: the
//! data has none. Simulated, and labelled so.

/// The category of items of which no word is known.
pub const OTHER: &str = "Other";

/// Category path → the words that stand for it.
const WORDS: &[(&str, &str)] = &[
    ("Seasonal/Christmas", "CHRISTMAS XMAS SANTA SNOWMAN SNOWFLAKE REINDEER ADVENT BAUBLE SLEIGH NATIVITY NOEL"),
    ("Seasonal/Easter", "EASTER CHICK RABBIT BUNNY"),
    ("Seasonal/Parties", "PARTY BIRTHDAY BUNTING BALLOON BALLOONS GARLAND GARLANDS CONFETTI DISCO FLAG"),
    (
        "Jewellery",
        "NECKLACE EARRINGS EARRING BRACELET RING BROOCH BANGLE PENDANT CHARM JEWELLERY HAIR HAIRSLIDE DIAMANTE HAIRCLIP \
         HAIRCLIPS TIARA BEADS CHOKER KEYRING KEY-RING NECKLACE+BRACELET",
    ),
    ("Bags", "BAG BAGS PURSE HANDBAG SHOPPER WALLET LUGGAGE SUITCASE RUCKSACK BACKPACK WASHBAG"),
    (
        "Stationery",
        "CARD CARDS WRAP PAPER NOTEBOOK NOTEBOOKS PENCIL PENCILS PEN PENS STICKER STICKERS ENVELOPE ENVELOPES STAMP \
         CALENDAR RIBBON RIBBONS TAPE JOURNAL ERASER ERASERS RULER SKETCHBOOK BOOK CHALK TAG TAGS POSTCARD CLIP MAGNET \
         MAGNETS PASSPORT FOLDER PLANNER NOTE MEMO LETTER LETTERS STATIONERY CLIPBOARD SCRAPBOOK TISSUE TISSUES PAD \
         PAPERWEIGHT SCISSOR BADGES",
    ),
    (
        "Toys",
        "TOY TOYS DOLL DOLLY PUZZLE GAME GAMES DOMINOES SKITTLES PLAYING JIGSAW TEDDY BEAR SPINNING PLAYHOUSE SKIPPING \
         YOYO KITE PUPPET ROBOT RACING DOLLCRAFT FELTCRAFT SOLDIER SPACEBOY CHILDRENS CHILDS KIDS BABY BOYS GIRLS ANIMAL \
         ANIMALS MASK BUBBLES BUBBLE HELICOPTER DINOSAUR DUCKS BALL",
    ),
    ("Kitchen/Baking", "CAKE CAKES BAKING CUPCAKE MUFFIN BISCUIT COOKIE JELLY CAKESTAND CASES"),
    (
        "Kitchen/Tableware",
        "MUG MUGS CUP CUPS SAUCER PLATE PLATES BOWL BOWLS TEAPOT TEACUP TEACUPS JUG TRAY NAPKIN NAPKINS COASTER \
         COASTERS PLACEMAT PLACEMATS CUTLERY SPOON SPOONS FORK BEAKER DISH EGG TUMBLER GLASS GLASSES TABLECLOTH RUNNER \
         CARAFE STRAWS STRAW CHOPSTICKS TEASPOONS CRUET DINNER PLATTER SLATE",
    ),
    (
        "Kitchen/Cooking and storage",
        "KITCHEN JAR JARS TIN TINS BOTTLE LUNCH OVEN GLOVE APRON TEA COFFEE SCALES PANTRY RECIPE PEG COOKING MEASURING \
         JAM BREAD CANISTER THERMOMETER STORAGE BOXES CONTAINER SUGAR FRIDGE WHISK SIEVE COLANDER BIN PAN",
    ),
    (
        "Home/Candles and lights",
        "CANDLE CANDLES T-LIGHT T-LIGHTS TLIGHT TLIGHTS LANTERN LIGHT LIGHTS LAMP LAMPSHADE INCENSE CANDLESTICK \
         CANDLEHOLDER CHANDELIER VOTIVE BULB SHADE LED CANDLEPOT MATCHES CAMPHOR",
    ),
    ("Home/Clocks and frames", "CLOCK CLOCKS FRAME FRAMES MIRROR MIRRORS PHOTO PICTURE ALARM PRINT ART CANVAS"),
    (
        "Home/Textiles",
        "CUSHION CUSHIONS DOORMAT RUG THROW QUILT CURTAIN BLANKET PILLOW TOWEL TOWELS MAT SLIPPERS SOCKS SCARF COSY \
         WARMER COVER HANDKERCHIEF FLOCK SHAWL UMBRELLA PONCHO FLANNEL POLYESTER FILLER",
    ),
    ("Home/Bathroom", "BATH BATHROOM SOAP SPONGE TOILET SHOWER TALCUM FOOT"),
    (
        "Home/Storage and hooks",
        "CABINET DRAWER DRAWERS HOOK HOOKS HANGER HANGERS RACK SHELF BASKET BASKETS CHEST TRUNK BOX WARDROBE KNOB \
         DOORSTOP STOOL CHAIR TABLE STAND CRATE KEY DOORKNOB HOLDER STOP",
    ),
    (
        "Garden",
        "GARDEN PLANT PLANTER POT POTS BIRDHOUSE FEEDER WATERING SEED SEEDS FLOWER FLOWERS PARASOL GNOME HERB WINDMILL \
         TROWEL SPRAYER BIRD TREE TREES PICNIC GLOVES ROSE ROSES BUTTERFLY BUTTERFLIES DECKCHAIR HAMMOCK GREENHOUSE \
         KNEELING BUCKET BEACH TOADSTOOL",
    ),
    (
        "Home/Decoration",
        "DECORATION DECORATIONS SIGN WREATH HANGING HEART HEARTS STAR STARS VASE ORNAMENT WALL DOVE ANGEL FAIRY CHIME \
         MOBILE CRYSTAL BLOCK WORD PLAQUE FIGURINE BELL BELLS FEATHER FEATHERS SHELL GLOBE TILE HOME DOOR",
    ),
];

/// A season in any place of a description decides; so many of [`WORDS`] are seasons.
const SEASONS: usize = 2;

/// The category path of a description. Of several words the last one decides, since the noun
/// stands last: a `HEART T-LIGHT HOLDER` is no heart.
pub fn guess(description: &str) -> &'static str {
    let words: Vec<String> = description
        .split([' ', '/'])
        .map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()).to_uppercase())
        .collect();
    let of = |word: &String, rules: &'static [(&str, &str)]| {
        rules.iter().find(|(_, known)| known.split(' ').any(|known| known == word)).map(|(path, _)| *path)
    };
    let season = words.iter().find_map(|word| of(word, &WORDS[..SEASONS]));
    season.or_else(|| words.iter().rev().find_map(|word| of(word, WORDS))).unwrap_or(OTHER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_guessed_from_words() {
        assert_eq!(guess("WHITE HANGING HEART T-LIGHT HOLDER"), "Home/Storage and hooks");
        assert_eq!(guess("JUMBO BAG RED RETROSPOT"), "Bags");
        assert_eq!(guess("PACK OF 12 CHRISTMAS CARDS"), "Seasonal/Christmas");
        assert_eq!(guess("SET/4 SPOONS,"), "Kitchen/Tableware");
        assert_eq!(guess("ebay"), OTHER);
    }
}
